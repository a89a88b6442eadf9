//! Reproducible randomness: the same seed gives the same partner, row by row, without
//! having to draw the rows before it.

/// SplitMix64's finaliser: every bit of the input moves every bit of the output.
pub fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A sequence of draws that depends on a seed and on what it is drawn for.
pub struct Draw(u64);

impl Draw {
    pub fn new(seed: u64, purpose: u64, number: u64) -> Self {
        Self(mix(seed
            ^ mix(
                purpose.wrapping_mul(0x51_7CC1_B727_220A) ^ mix(number)
            )))
    }

    // It has no end: an iterator's `next` would promise one.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// A whole number from 0 to `bound - 1`.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// A number from 0 to 1.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// True in `per_mille` cases out of a thousand.
    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    pub fn pick<'a, T>(&mut self, among: &'a [T]) -> &'a T {
        &among[self.below(among.len() as u64) as usize]
    }
}

/// A UUID that looks like a version 4 and depends on nothing but its arguments.
pub fn uuid(seed: u64, kind: u64, number: u64) -> u128 {
    let mut draw = Draw::new(seed, kind ^ 0xDAD1, number);
    let raw = u128::from(draw.next()) << 64 | u128::from(draw.next());
    raw & !(0xF << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62
}

pub fn write_uuid(out: &mut Vec<u8>, uuid: u128) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for position in 0..32 {
        if matches!(position, 8 | 12 | 16 | 20) {
            out.push(b'-');
        }
        out.push(DIGITS[(uuid >> (124 - 4 * position)) as usize & 0xF]);
    }
}

pub fn uuid_text(uuid: u128) -> String {
    let mut out = Vec::with_capacity(36);
    write_uuid(&mut out, uuid);
    String::from_utf8_lossy(&out).into_owned()
}

pub fn parse_uuid(text: &str) -> Option<u128> {
    let digits: String = text.trim().chars().filter(|c| *c != '-').collect();
    (digits.len() == 32).then(|| u128::from_str_radix(&digits, 16).ok())?
}
