//! Seeded numbers.

/// A pseudo-random sequence: the same seed gives the same numbers everywhere.
pub struct Random(u64);

impl Random {
    /// The sequence of the run number `run` of a fuzzing session.
    pub fn new(seed: u64, run: u64) -> Random {
        Random(seed ^ run.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }
    /// The next number (splitmix64).
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    /// A number below `n`; 0 if that is 0.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
    /// Whether something happens that does once in `n` times.
    pub fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
    /// One of these.
    pub fn pick<'a, T: ?Sized>(&mut self, from: &'a [&T]) -> &'a T {
        from[self.below(from.len())]
    }
    /// A range inside of `length`, of at most `longest`.
    pub fn range(&mut self, length: usize, longest: usize) -> std::ops::Range<usize> {
        let start = self.below(length + 1);
        let end = start + self.below((length - start).min(longest) + 1);
        start..end
    }
    /// A number that programs stumble over, or a neighbour of `near`.
    pub fn number(&mut self, near: u64) -> u64 {
        const EDGES: [u64; 24] = [
            0,
            1,
            2,
            3,
            4,
            5,
            7,
            8,
            11,
            16,
            127,
            128,
            255,
            4096,
            65_536,
            0x7fff_ffff,
            0x8000_0000,
            0xffff_ffff,
            1 << 32,
            1 << 40,
            i64::MAX as u64,
            i64::MIN as u64,
            u64::MAX,
            u64::MAX - 1,
        ];
        match self.below(8) {
            0 => near.wrapping_add(1),
            1 => near.wrapping_sub(1),
            2 => self.next() >> self.below(64),
            3 => near ^ (1 << self.below(64)),
            4 => self.below(8) as u64,
            _ => EDGES[self.below(EDGES.len())],
        }
    }
}
