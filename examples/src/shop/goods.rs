//! What the shop sells.
//!
//! Made from two short lists, so that every replica knows the same goods without a database.

const WHAT: [&str; 8] = ["lamp", "chair", "table", "rug", "shelf", "clock", "mirror", "basket"];
const HOW: [&str; 6] = ["woven", "linen", "walnut", "copper", "woollen", "glass"];

/// One thing to buy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Good {
    pub id: String,
    pub title: String,
}

/// The goods with `query` in their title; all of them for an empty query.
pub fn matching(query: &str) -> Vec<Good> {
    let query = query.to_lowercase();
    let all = HOW.iter().flat_map(|how| WHAT.iter().map(move |what| (how, what)));
    let goods = all.map(|(how, what)| Good { id: format!("{how}-{what}"), title: format!("{how} {what}") });
    goods.filter(|good| good.title.contains(&query)).collect()
}

/// A word that finds something.
pub fn any_query(choice: usize) -> &'static str {
    let words = WHAT.len() + HOW.len();
    let index = choice % words;
    if index < WHAT.len() { WHAT[index] } else { HOW[index - WHAT.len()] }
}

/// A number between 0 and 1 that is always the same for the same item (FNV-1a).
pub fn popularity(id: &str) -> f64 {
    let hash =
        id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    (hash % 1000) as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_finds_something() {
        assert_eq!(matching("").len(), 48);
        assert_eq!(matching("Lamp").len(), 6);
        assert!(matching("spaceship").is_empty());
        for choice in 0..20 {
            assert!(!matching(any_query(choice)).is_empty());
        }
        assert!((0.0..1.0).contains(&popularity("copper-lamp")));
    }
}
