//! Spellings of one path, and what must not be mistaken for another.
//! For DENY any reading counts, for ALLOW every one has to be allowed.

use super::*;
use proptest::prelude::*;

/// Whether a DENY of `/admin/*` stops it: a reading of it lies there, or it is refused as ambiguous.
fn stopped(path: &str) -> bool {
    let there = |path: &str| path == "/admin" || path.starts_with("/admin/");
    match plain(path) {
        Some(path) => there(path),
        None => readings(path).map_or(true, |readings| readings.iter().any(|path| there(path))),
    }
}

#[test]
fn every_spelling_is_stopped() {
    for path in [
        "/admin",
        "/admin/",
        "//admin",
        "/admin//x",
        "/./admin",
        "/admin/.",
        "/x/../admin",
        "/x/..//admin",
        "/admin/../y",
        "/%61dmin",
        "/%2561dmin",
        "/%252561dmin",
        "/x%2f..%2fadmin",
        "/x/%2e%2e/admin",
        "/x/..;/admin",
        "/x/..;a=b/admin",
        "/;/admin",
        "/;a/admin",
        "/admin;x",
        "/admin;x=y/z",
        "/admin%3bx",
        "/admin%3fx",
        "/admin%23x/y",
        "/%2fadmin",
        "/%2Fadmin",
        "%2fadmin",
        "/\\admin",
        "/x\\..\\admin",
        "/%5cadmin",
        "/admin%00",
        "/admin%0a",
        "/admin%",
        "/%c0%afadmin",
        "/x/%252e%252e/admin",
        "/%252fadmin",
        "/admin#x",
        "admin",
        "/%u002fadmin",
        "/.//admin",
        "/..//admin",
        "/../admin",
        "/x/./../admin",
    ] {
        assert!(stopped(path), "{path} passes: {:?}", readings(path));
    }
}

#[test]
fn honest_paths_are_not_mistaken() {
    for path in
        ["/", "/administrator", "/x/admin", "/Admin", "/a%20b", "/a;v=1/b", "/who%3f", "/a%2fb", "/100%25", "/.well"]
    {
        assert!(!stopped(path), "{path}");
    }
    assert_eq!(plain("/a/b/"), Some("/a/b"));
    assert_eq!(plain("/"), Some(""));
    assert_eq!(readings("/a%20b").unwrap(), ["/a b"]);
    assert_eq!(readings("/a%2fb").unwrap(), ["/a/b"]);
    assert_eq!(readings("/x//y").unwrap(), ["/x//y", "/x/y"]);
    assert_eq!(readings("/x/../y").unwrap(), ["/x/../y", "/y"]);
}

#[test]
fn hosts_have_one_form() {
    for text in ["Cart.Shop", "cart.shop:80", "cart.shop.", "CART.SHOP.:8080"] {
        assert_eq!(host(text).unwrap(), "cart.shop", "{text}");
    }
    assert_eq!(host("[::1]:80").unwrap(), "[::1]");
    for text in ["a@b", "a\\b", "a/b", "a b", "a%2fb"] {
        assert!(host(text).is_err(), "{text}");
    }
}

/// One of many spellings of the same segment.
fn spelled(segment: &'static str) -> impl Strategy<Value = String> {
    prop::collection::vec(0..3u8, segment.len()).prop_map(move |how| {
        let byte = |(byte, how): (u8, u8)| match how {
            0 => char::from(byte).to_string(),
            1 => format!("%{byte:02x}"),
            _ => format!("%25{byte:02X}"),
        };
        segment.bytes().zip(how).map(byte).collect()
    })
}

proptest! {
    #[test]
    fn no_mixture_of_spellings_passes(
        before in prop::sample::select(vec!["/", "//", "/./", "/x/../", "/;/", "/.//", "/%2f", "/%2e/", "/y;z/../"]),
        admin in spelled("admin"),
        after in prop::sample::select(vec!["", "/", "//", ";a", "/.", "/x", "%2fx", "%3bx", "/%2e%2e/admin"]),
    ) {
        let path = format!("{before}{admin}{after}");
        prop_assert!(stopped(&path), "{} passes: {:?}", path, readings(&path));
    }

    #[test]
    fn any_text_is_read_or_refused(path in "[/a.%2efF;?#\\\\0-9 ]{0,40}") {
        if let Some(plain) = plain(&path) {
            prop_assert_eq!(readings(&path).unwrap(), [plain]);
        } else if let Ok(readings) = readings(&path) {
            prop_assert!(!readings.is_empty() && readings.len() <= 32);
        }
    }
}
