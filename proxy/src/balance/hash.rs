//! The hash behind rings, tables and subsets: the same in every proxy, of every version, on every machine.
//!
//! FNV-1a, whose upper bits are weak for short keys, finished by the mixer of SplitMix64. Not secret: a client who may choose
//! its key may choose its endpoint, which consistent hashing gives to it anyway.

/// Spreads `text` over 64 bits.
pub fn of(text: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    mix(text.iter().fold(0xcbf2_9ce4_8422_2325, step))
}

/// A number that looks unrelated to `value` and to those of its neighbours.
pub fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// `hash` as a fraction of 1.
pub fn fraction(hash: u64) -> f64 {
    (hash >> 11) as f64 / (1u64 << 53) as f64
}

/// Of the `usable` the one that `key` likes best (rendezvous hashing), whichever others there are.
pub fn rendezvous(key: u64, hashes: &[u64], usable: &impl Fn(usize) -> bool) -> Option<usize> {
    (0..hashes.len()).filter(|at| usable(*at)).max_by_key(|at| mix(key ^ hashes[*at]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_same_for_ever() {
        // A change here would move every session of every mesh.
        assert_eq!([of(b""), of(b"a"), of(b"cart-0")], [of_before("", 0), of_before("a", 1), of_before("cart-0", 6)]);
    }

    /// The definition, written the slow way.
    fn of_before(text: &str, length: usize) -> u64 {
        assert_eq!(text.len(), length);
        let mut hash = 14_695_981_039_346_656_037_u64;
        for byte in text.bytes() {
            hash ^= u64::from(byte);
            hash = hash.wrapping_mul(1_099_511_628_211);
        }
        mix(hash)
    }

    #[test]
    fn neighbours_are_spread_evenly() {
        let mut buckets = [0u32; 16];
        (0..16_000).for_each(|n| buckets[(of(format!("user-{n}").as_bytes()) >> 60) as usize] += 1);
        assert!(buckets.iter().all(|count| count.abs_diff(1000) < 150), "{buckets:?}");
    }
}
