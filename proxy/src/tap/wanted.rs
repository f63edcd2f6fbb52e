//! Whether a watcher wants a request.
//!
//! Pure: borrowed parts of the request in, yes or no out. What a watcher does not ask for restricts nothing; what it asks for and a
//! request does not have, the request does not pass.

use weft_proto::v1;

/// The client, as far as this side knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Client<'a> {
    pub namespace: &'a str,
    /// Its service account.
    pub account: &'a str,
    /// Empty on the server's side.
    pub proxy: &'a str,
}

/// A request that has ended, as filters see it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Seen<'a> {
    pub inbound: bool,
    pub client: Client<'a>,
    /// `name.namespace`
    pub service: &'a str,
    pub method: &'a str,
    pub path: &'a str,
    /// 0: there is none.
    pub status: u16,
    pub reason: &'a str,
}

/// A name, and the namespace if one was said.
#[derive(Debug, PartialEq)]
struct Name {
    namespace: Option<String>,
    name: String,
}

impl Name {
    /// None: nothing was asked for.
    fn read(text: &str) -> Option<Self> {
        let (namespace, name) = match text.split_once('/') {
            Some((namespace, name)) => (Some(namespace.to_owned()), name),
            None => (None, text),
        };
        (!text.is_empty()).then(|| Self { namespace, name: name.to_owned() })
    }

    fn means(&self, namespace: &str, name: &str) -> bool {
        self.name == name && self.namespace.as_deref().is_none_or(|own| own == namespace)
    }
}

/// What a watcher wants.
#[derive(Debug)]
pub(super) struct Wanted {
    from: Option<Name>,
    to: Option<Name>,
    inbound: Option<bool>,
    method: String,
    path: String,
    /// Both included.
    status: Option<(u32, u32)>,
    reason: String,
    pub(super) headers: bool,
}

impl Wanted {
    pub(super) fn read(tap: &v1::Tap) -> Self {
        Self {
            from: Name::read(&tap.from),
            to: Name::read(&tap.to),
            inbound: match tap.direction() {
                v1::TapDirection::Any => None,
                v1::TapDirection::Inbound => Some(true),
                v1::TapDirection::Outbound => Some(false),
            },
            method: tap.method.clone(),
            path: tap.path.clone(),
            status: (tap.max_status > 0).then_some((tap.min_status, tap.max_status)),
            reason: tap.reason.clone(),
            headers: tap.headers,
        }
    }

    pub(super) fn passes(&self, seen: &Seen<'_>) -> bool {
        let Client { namespace, account, proxy } = seen.client;
        let is = |wanted: &str, text: &str| wanted.is_empty() || wanted == text;
        self.inbound.is_none_or(|inbound| inbound == seen.inbound)
            && self.status.is_none_or(|(min, max)| (min..=max).contains(&u32::from(seen.status)))
            && is(&self.reason, seen.reason)
            && is(&self.method, seen.method)
            && seen.path.starts_with(&self.path)
            && self.from.as_ref().is_none_or(|name| name.means(namespace, account) || name.means(namespace, proxy))
            && self.to.as_ref().is_none_or(|name| {
                seen.service.rsplit_once('.').is_some_and(|(service, namespace)| name.means(namespace, service))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEEN: Seen<'static> = Seen {
        inbound: false,
        client: Client { namespace: "shop", account: "web", proxy: "web-0" },
        service: "cart.shop",
        method: "GET",
        path: "/items/7",
        status: 503,
        reason: "no-endpoints",
    };

    fn passes(change: impl FnOnce(&mut v1::Tap), seen: &Seen<'_>) -> bool {
        let mut tap = v1::Tap::default();
        change(&mut tap);
        Wanted::read(&tap).passes(seen)
    }

    #[test]
    fn whoever_asks_for_nothing_gets_everything() {
        assert!(passes(|_| {}, &SEEN) && passes(|_| {}, &Seen::default()));
    }

    #[test]
    fn names_are_with_or_without_a_namespace() {
        for (from, passed) in [
            ("web", true),
            ("web-0", true),
            ("shop/web", true),
            ("shop/web-0", true),
            ("other/web", false),
            ("we", false),
        ] {
            assert_eq!(passes(|tap| tap.from = from.to_owned(), &SEEN), passed, "{from}");
        }
        for (to, passed) in
            [("cart", true), ("shop/cart", true), ("front/cart", false), ("cart.shop", false), ("shop", false)]
        {
            assert_eq!(passes(|tap| tap.to = to.to_owned(), &SEEN), passed, "{to}");
        }
        // Nobody has proved to be anybody.
        let unknown = Seen { client: Client::default(), ..SEEN };
        assert!(!passes(|tap| tap.from = "web".to_owned(), &unknown));
        assert!(!passes(|tap| tap.to = "unknown".to_owned(), &Seen { service: "unknown", ..SEEN }));
    }

    #[test]
    fn the_rest_is_compared() {
        assert!(
            passes(|tap| tap.method = "GET".to_owned(), &SEEN) && !passes(|tap| tap.method = "get".to_owned(), &SEEN)
        );
        assert!(
            passes(|tap| tap.path = "/items".to_owned(), &SEEN) && !passes(|tap| tap.path = "/cart".to_owned(), &SEEN)
        );
        for (min, max, passed) in [(503, 503, true), (500, 599, true), (200, 299, false), (504, 599, false)] {
            assert_eq!(passes(|tap| (tap.min_status, tap.max_status) = (min, max), &SEEN), passed, "{min} to {max}");
        }
        assert!(passes(|tap| tap.reason = "no-endpoints".to_owned(), &SEEN));
        assert!(!passes(|tap| tap.reason = "no".to_owned(), &SEEN));
        let direction = |direction: v1::TapDirection| move |tap: &mut v1::Tap| tap.direction = direction.into();
        assert!(passes(direction(v1::TapDirection::Outbound), &SEEN));
        assert!(!passes(direction(v1::TapDirection::Inbound), &SEEN));
        // Of a newer discovery: restricts nothing.
        assert!(passes(|tap| tap.direction = 99, &SEEN));
    }
}
