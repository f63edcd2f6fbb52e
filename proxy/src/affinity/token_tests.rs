//! Tokens come back as they were made; nothing else is one.
//! Also with keys that come and go, and with times that have passed.

use super::*;
use proptest::prelude::*;
use std::time::Duration;
use weft_model::ServiceName;
use weft_model::session::Carrier;

const NOW: u32 = 1_800_000_000;

fn key(id: u32, from: u64) -> SessionKey {
    SessionKey { id, secret: [id as u8; 32], from }
}

fn keys() -> Keys {
    Keys::new(vec![key(7, 0)])
}

fn session(absolute: Option<u64>, idle: Option<u64>) -> Session {
    Session {
        name: "stay".into(),
        absolute_timeout: absolute.map(Duration::from_secs),
        idle_timeout: idle.map(Duration::from_secs),
        carrier: Carrier::default(),
    }
}

fn home(id: &str) -> Home {
    Home::of(&ServiceName::new("shop", "cart").unwrap(), id)
}

#[test]
fn a_token_is_read_by_every_proxy_and_says_nothing_to_others() {
    let token = keys().seal("stay", home("cart-0"), None, NOW).unwrap();
    assert_eq!(keys().open(&session(None, None), &token, NOW).unwrap().home, home("cart-0"));
    let again = keys().seal("stay", home("cart-0"), None, NOW).unwrap();
    assert_ne!(token[8..], again[8..], "two clients of one endpoint cannot tell that they are");
    let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
    let hidden = home("cart-0").bytes();
    assert!(!bytes.windows(8).any(|part| part == &hidden[..8] || part == &hidden[8..]));
}

#[test]
fn a_token_of_another_session_or_another_mesh_is_none() {
    let token = keys().seal("other", home("cart-0"), None, NOW).unwrap();
    assert_eq!(keys().open(&session(None, None), &token, NOW), None);
    let token = keys().seal("stay", home("cart-0"), None, NOW).unwrap();
    let stranger = Keys::new(vec![SessionKey { secret: [9; 32], ..key(7, 0) }]);
    assert_eq!(stranger.open(&session(None, None), &token, NOW), None);
    assert_eq!(Keys::default().open(&session(None, None), &token, NOW), None);
    assert_eq!(Keys::default().seal("stay", home("cart-0"), None, NOW), None);
}

#[test]
fn time_outs_are_the_proxys_to_judge() {
    let token = keys().seal("stay", home("cart-0"), None, NOW).unwrap();
    let limited = session(Some(60), Some(10));
    let held = |at: u32| keys().open(&limited, &token, at);
    assert!(held(NOW + 9).is_some() && held(NOW + 10).is_none());
    assert!(held(NOW - 5).is_some(), "another proxy's clock is ahead");
    // Renewed every nine seconds it lives until its absolute end, and not longer.
    let (mut token, mut now) = (token.clone(), NOW);
    while let Some(shown) = keys().open(&limited, &token, now) {
        assert!(now < NOW + 60);
        assert_eq!(keys().is_due(&shown, &limited, now), now > NOW);
        token = keys().seal("stay", shown.home, Some(shown), now).unwrap();
        now += 9;
    }
    assert_eq!(now, NOW + 63);
}

#[test]
fn a_key_seals_when_its_time_has_come_and_opens_before() {
    let at = u64::from(NOW);
    let (old, both) = (keys(), Keys::new(vec![key(8, at + 60), key(7, 0)]));
    let sealed = both.seal("stay", home("a"), None, NOW).unwrap();
    assert!(old.open(&session(None, None), &sealed, NOW).is_some(), "a proxy without the new key reads it");
    let renewed = both.seal("stay", home("a"), None, NOW + 60).unwrap();
    assert!(old.open(&session(None, None), &renewed, NOW).is_none());
    assert!(both.open(&session(None, None), &renewed, NOW).is_some(), "whatever the clock says");
    let shown = both.open(&session(None, None), &sealed, NOW + 60).unwrap();
    assert!(both.is_due(&shown, &session(None, None), NOW + 60), "sealed with the old key");
    assert!(!both.is_due(&shown, &session(None, None), NOW), "there is no better one yet");
}

proptest! {
    #[test]
    fn forged_tokens_are_none(at in 0..TOKEN, bit in 0..8u8, junk in prop::collection::vec(any::<u8>(), 0..100)) {
        let token = keys().seal("stay", home("cart-0"), None, NOW).unwrap();
        let mut bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        bytes[at] ^= 1 << bit;
        prop_assert_eq!(keys().open(&session(None, None), &URL_SAFE_NO_PAD.encode(bytes), NOW), None);
        prop_assert_eq!(keys().open(&session(None, None), &URL_SAFE_NO_PAD.encode(&junk), NOW), None);
        prop_assert_eq!(keys().open(&session(None, None), &String::from_utf8_lossy(&junk), NOW), None);
        prop_assert_eq!(keys().open(&session(None, None), &token[..at], NOW), None);
    }
}
