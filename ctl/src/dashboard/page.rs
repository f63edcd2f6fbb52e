//! The page itself, as the build script made it from `dashboard/`, or why it could not.
//!
//! Embedded in the binary, so that showing it needs neither files nor a network.

use anyhow::anyhow;

/// All files of the page. Everything else it shows, it asks the API for.
#[derive(Debug, Clone, Copy)]
// None is ever made where the page could not be built.
#[allow(dead_code)]
pub struct Page {
    pub html: &'static [u8],
    pub script: &'static [u8],
    pub style: &'static [u8],
    pub icon: &'static [u8],
    /// The licences of the libraries in `script`.
    pub notice: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/page.rs"));

/// The page, or what to do where it was not built.
pub fn get(built: Result<Page, &str>) -> anyhow::Result<Page> {
    built.map_err(|reason| {
        anyhow!(
            "this weftctl was built without its dashboard: {reason}; build it again on a machine with Node 18 or later, npm \
             and a way to its registry (Debian: apt-get install nodejs npm)"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_page_says_why_and_how_to_get_it() {
        let said = get(Err("npm is missing")).unwrap_err().to_string();
        assert!(said.contains("without its dashboard: npm is missing; build it again"), "{said}");
        assert!(said.contains("apt-get install nodejs npm"), "{said}");
    }

    #[test]
    fn a_page_that_was_built_is_whole_and_small() {
        let Ok(page) = BUILT else { return };
        assert!(page.html.starts_with(b"<!doctype html>"));
        for part in [page.script, page.style, page.icon, page.notice] {
            assert!(!part.is_empty());
        }
        assert!(page.script.len() + page.style.len() < 200 * 1024, "{} bytes of script", page.script.len());
    }
}
