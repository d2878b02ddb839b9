//! The use of the address space, and its change.

mod text;

pub use text::write;

use schemars::JsonSchema;
use serde::Serialize;

use crate::json::{Address, ProcessReport};
use ntheap::{
    dump::Dump,
    usage::{Class, NewAllocation, Owner, Total, Usage, UsageChange, UsedRegion},
};

/// Sums over regions, in bytes.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
pub struct TotalReport {
    /// Number of regions.
    pub regions: u64,
    /// Committed bytes.
    pub committed: u64,
    /// Reserved bytes that are not committed.
    pub reserved: u64,
    /// Committed bytes that no other process shares.
    pub private: u64,
}

impl From<Total> for TotalReport {
    fn from(total: Total) -> Self {
        TotalReport {
            regions: total.regions,
            committed: total.committed,
            reserved: total.reserved(),
            private: total.private,
        }
    }
}

/// Who uses memory.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct OwnerReport {
    /// `heap`, `private`, `image`, `mapped`, `stack`, `teb`, `peb`, `traces` or `free`.
    #[serde(rename = "use")]
    pub class: &'static str,
    /// The owner in words.
    pub owner: String,
    /// Handle of the heap, base of the image or allocation; null for threads.
    pub base: Option<Address>,
    /// The thread; left out for others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thread: Option<u32>,
}

impl OwnerReport {
    fn new(owner: Owner, dump: &Dump<'_>) -> Self {
        let thread = match owner {
            Owner::Stack(thread) | Owner::Teb(thread) => Some(thread),
            _ => None,
        };
        OwnerReport {
            class: owner.class().name(),
            owner: owner.describe(dump),
            base: owner.identity().filter(|_| thread.is_none()).map(Address),
            thread,
        }
    }
}

/// Sums of a class.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ClassReport {
    /// The class.
    #[serde(rename = "use")]
    pub class: &'static str,
    /// The sums.
    #[serde(flatten)]
    pub total: TotalReport,
}

/// Sums of an owner.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct OwnerTotalReport {
    /// The owner.
    #[serde(flatten)]
    pub owner: OwnerReport,
    /// The sums.
    #[serde(flatten)]
    pub total: TotalReport,
}

/// A region.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RegionReport {
    /// First address.
    pub address: Address,
    /// Size in bytes.
    pub size: u64,
    /// Address that the allocation begins at.
    pub allocation: Address,
    /// `commit` or `reserve`.
    pub state: &'static str,
    /// `private`, `mapped`, `image`, or `-` where it is not known.
    pub kind: &'static str,
    /// `PAGE_*` protection.
    pub protection: u32,
    /// Who uses it.
    #[serde(flatten)]
    pub owner: OwnerReport,
}

impl RegionReport {
    fn new(used: &UsedRegion, dump: &Dump<'_>) -> Self {
        RegionReport {
            address: Address(used.region.base),
            size: used.region.size,
            allocation: Address(used.region.allocation_base),
            state: used.region.state.name(),
            kind: used.region.kind.name(),
            protection: used.region.protection,
            owner: OwnerReport::new(used.owner, dump),
        }
    }
}

/// The use of an address space.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct UsageReport {
    /// Whether the dump describes its regions.
    pub described: bool,
    /// Everything but free memory.
    pub total: TotalReport,
    /// Size of all free regions and of the largest; null where nothing is known of them.
    pub free: Option<FreeReport>,
    /// By class, the largest committed first.
    pub uses: Vec<ClassReport>,
    /// By owner, the largest committed first.
    pub owners: Vec<OwnerTotalReport>,
    /// The largest regions.
    pub largest_regions: Vec<RegionReport>,
}

/// Free address space.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
pub struct FreeReport {
    /// Bytes.
    pub bytes: u64,
    /// Number of regions.
    pub regions: u64,
    /// Bytes of the largest.
    pub largest: u64,
}

impl UsageReport {
    /// The report with at most `top` owners and regions.
    #[must_use]
    pub fn new(usage: &Usage, dump: &Dump<'_>, top: usize) -> Self {
        let free = usage.of_class(Class::Free);
        let used = |owner: &Owner| *owner != Owner::Free;
        UsageReport {
            described: usage.described,
            total: usage.total().into(),
            free: usage.largest_free().map(|largest| FreeReport {
                bytes: free.size,
                regions: free.regions,
                largest,
            }),
            uses: usage
                .totals()
                .into_iter()
                .filter(|(class, _)| *class != Class::Free)
                .map(|(class, total)| ClassReport {
                    class: class.name(),
                    total: total.into(),
                })
                .collect(),
            owners: usage
                .owners()
                .into_iter()
                .filter(|(owner, _)| used(owner))
                .take(top)
                .map(|(owner, total)| OwnerTotalReport {
                    owner: OwnerReport::new(owner, dump),
                    total: total.into(),
                })
                .collect(),
            largest_regions: usage
                .largest(top)
                .iter()
                .map(|region| RegionReport::new(region, dump))
                .collect(),
        }
    }
}

/// The change of a class.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
pub struct ClassChangeReport {
    /// The class.
    #[serde(rename = "use")]
    pub class: &'static str,
    /// In the first dump.
    pub before: TotalReport,
    /// In the second.
    pub after: TotalReport,
    /// Growth in committed bytes.
    pub delta_committed: i64,
    /// Growth in private bytes.
    pub delta_private: i64,
}

/// An allocation that is only in the second dump.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
pub struct NewAllocationReport {
    /// Address that it begins at.
    pub base: Address,
    /// Who uses it.
    #[serde(rename = "use")]
    pub class: &'static str,
    /// The heap, image or allocation; null for stacks and environment blocks.
    pub owner: Option<Address>,
    /// Its size.
    #[serde(flatten)]
    pub total: TotalReport,
}

impl From<&NewAllocation> for NewAllocationReport {
    fn from(new: &NewAllocation) -> Self {
        let is_thread = matches!(new.owner, Owner::Stack(_) | Owner::Teb(_));
        NewAllocationReport {
            base: Address(new.base),
            class: new.owner.class().name(),
            owner: new.owner.identity().filter(|_| !is_thread).map(Address),
            total: new.total.into(),
        }
    }
}

/// The change of the use of an address space.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct UsageChangeReport {
    /// Whether both dumps describe their regions.
    pub described: bool,
    /// Whether memory outside the heaps grew more than the heaps did.
    pub virtual_leak: bool,
    /// By class.
    pub uses: Vec<ClassChangeReport>,
    /// Number of allocations that are only in the second dump.
    pub new_allocation_count: usize,
    /// The largest of them.
    pub new_allocations: Vec<NewAllocationReport>,
}

impl UsageChangeReport {
    /// The report with at most `top` new allocations.
    #[must_use]
    pub fn new(change: &UsageChange, top: usize) -> Self {
        UsageChangeReport {
            described: change.described,
            virtual_leak: change.is_virtual_leak(),
            uses: change
                .classes
                .iter()
                .map(|class| ClassChangeReport {
                    class: class.class.name(),
                    before: class.before.into(),
                    after: class.after.into(),
                    delta_committed: class.committed(),
                    delta_private: class.private(),
                })
                .collect(),
            new_allocation_count: change.new.len(),
            new_allocations: change.new.iter().take(top).map(Into::into).collect(),
        }
    }
}

/// Who uses the address space of a process.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct AddressSpaceReport {
    /// The process.
    pub process: ProcessReport,
    /// Its use.
    #[serde(flatten)]
    pub usage: UsageReport,
}
