//! Numbers that look random, of a seed.

/// SplitMix64: good enough, and each seed is a stream of its own.
#[derive(Debug, Clone)]
pub(super) struct Stream(u64);

impl Stream {
    /// The stream of a part: the same whatever other parts there are.
    pub(super) fn of(seed: u64, heap: usize, index: usize) -> Self {
        let mut stream = Stream(seed ^ (heap as u64) << 40 ^ (index as u64) << 8);
        stream.next();
        stream
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    pub(super) fn below(&mut self, limit: u64) -> u64 {
        // The top bits of a product: no division for each block.
        ((u128::from(self.next()) * u128::from(limit)) >> 64) as u64
    }

    pub(super) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// The sizes that a program asks for: some dozens of them, small ones above all, and a few others.
#[derive(Debug)]
pub(super) struct Sizes {
    classes: Vec<u64>,
}

const CLASSES: u64 = 48;

impl Sizes {
    pub(super) fn of(seed: u64) -> Self {
        let mut stream = Stream::of(seed, usize::MAX, 0);
        let classes = (0..CLASSES).map(|_| {
            let magnitude = 4 + stream.below(7);
            (1 << magnitude) + stream.below(1 << magnitude)
        });
        Sizes {
            classes: classes.collect(),
        }
    }

    /// Some size: one of the small classes twice as often as one of all.
    pub(super) fn any(&self, stream: &mut Stream) -> u64 {
        let one = self.class(stream);
        match stream.below(128) {
            0 => 1 + stream.below(0x8000),
            1..64 => one.min(self.class(stream)),
            _ => one,
        }
    }

    /// The size of a class.
    pub(super) fn class(&self, stream: &mut Stream) -> u64 {
        self.classes[stream.below(CLASSES) as usize]
    }
}
