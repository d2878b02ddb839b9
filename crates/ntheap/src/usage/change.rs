//! What became of the address space between two dumps.

use rustc_hash::{FxHashMap, FxHashSet};

use super::{Class, GrownAllocation, Owner, Total, Usage};

/// Sums of a class before and after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClassChange {
    /// The class.
    pub class: Class,
    /// In the first dump.
    pub before: Total,
    /// In the second.
    pub after: Total,
}

impl ClassChange {
    /// Growth in private bytes.
    #[must_use]
    pub fn private(&self) -> i64 {
        self.after.private.wrapping_sub(self.before.private) as i64
    }

    /// Growth in committed bytes.
    #[must_use]
    pub fn committed(&self) -> i64 {
        self.after.committed.wrapping_sub(self.before.committed) as i64
    }
}

/// An allocation that is only in the second dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewAllocation {
    /// The address that it begins at.
    pub base: u64,
    /// Who uses most of it.
    pub owner: Owner,
    /// Its size.
    pub total: Total,
}

/// The change of the use of an address space.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UsageChange {
    /// Every class but free memory, in the order of [`Class::ALL`].
    pub classes: Vec<ClassChange>,
    /// Allocations that are only in the second dump, the largest committed first. Empty where a dump
    /// does not describe its regions.
    pub new: Vec<NewAllocation>,
    /// Allocations outside heaps, stacks and images that are new or have more committed.
    pub(super) grown: Vec<GrownAllocation>,
    /// Whether both dumps describe their regions.
    pub described: bool,
}

impl UsageChange {
    /// Compares the use of two address spaces, the older first.
    #[must_use]
    pub fn between(before: &Usage, after: &Usage) -> Self {
        let classes = Class::ALL.into_iter().filter(|&class| class != Class::Free);
        let described = before.described && after.described;
        UsageChange {
            classes: classes
                .map(|class| ClassChange {
                    class,
                    before: before.of_class(class),
                    after: after.of_class(class),
                })
                .collect(),
            new: if described {
                new_allocations(before, after)
            } else {
                Vec::new()
            },
            grown: if described {
                grown_allocations(before, after)
            } else {
                Vec::new()
            },
            described,
        }
    }

    /// Allocations outside heaps, stacks and images that are new or have more committed than they
    /// had, the most first.
    #[must_use]
    pub fn grown(&self) -> &[GrownAllocation] {
        &self.grown
    }

    /// The change of a class.
    #[must_use]
    pub fn of(&self, class: Class) -> Option<&ClassChange> {
        self.classes.iter().find(|change| change.class == class)
    }

    /// Growth in private bytes of a class.
    #[must_use]
    pub fn private(&self, class: Class) -> i64 {
        self.of(class).map_or(0, ClassChange::private)
    }

    /// Whether private memory outside all heaps grew by more than the heaps did, and by more than
    /// the noise of a running process.
    #[must_use]
    pub fn is_virtual_leak(&self) -> bool {
        /// The granularity of `VirtualAlloc`: every process has a few of these come and go.
        const NOISE: i64 = 0x1_0000;
        let outside = self.private(Class::Private);
        outside > NOISE && outside > self.private(Class::Heap)
    }
}

/// Allocations of private memory without a user that this crate knows, which gained committed bytes.
fn grown_allocations(before: &Usage, after: &Usage) -> Vec<GrownAllocation> {
    let committed = |usage: &Usage| -> FxHashMap<u64, u64> {
        let owners = usage.owners().into_iter();
        owners
            .filter_map(|(owner, total)| match owner {
                Owner::Private(base) => Some((base, total.committed)),
                _ => None,
            })
            .collect()
    };
    let old = committed(before);
    let mut grown: Vec<GrownAllocation> = committed(after)
        .into_iter()
        .filter_map(|(base, now)| {
            let bytes = now.saturating_sub(old.get(&base).copied().unwrap_or(0));
            (bytes > 0).then_some(GrownAllocation { base, bytes })
        })
        .collect();
    grown.sort_by_key(|grown| (std::cmp::Reverse(grown.bytes), grown.base));
    grown
}

/// Allocations of the second dump whose base begins none in the first.
fn new_allocations(before: &Usage, after: &Usage) -> Vec<NewAllocation> {
    let known: FxHashSet<u64> = before
        .regions
        .iter()
        .filter(|r| r.owner != Owner::Free)
        .map(|r| r.region.allocation_base)
        .collect();
    let mut new: Vec<NewAllocation> = Vec::new();
    // Regions of one allocation follow each other; what follows the largest part names the whole.
    let mut largest = 0;
    for used in &after.regions {
        let base = used.region.allocation_base;
        if used.owner == Owner::Free || known.contains(&base) {
            continue;
        }
        match new.last_mut().filter(|last| last.base == base) {
            Some(last) => {
                last.total.add(&used.region);
                if used.region.size > largest {
                    (last.owner, largest) = (used.owner, used.region.size);
                }
            }
            None => {
                let mut total = Total::default();
                total.add(&used.region);
                largest = used.region.size;
                new.push(NewAllocation {
                    base,
                    owner: used.owner,
                    total,
                });
            }
        }
    }
    new.sort_by_key(|allocation| {
        let order = (allocation.total.committed, allocation.total.size);
        (std::cmp::Reverse(order), allocation.base)
    });
    new
}
