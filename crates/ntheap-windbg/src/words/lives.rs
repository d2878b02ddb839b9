//! `!runaway`, `.ttime`: how long threads ran.

use std::{
    cmp::Reverse,
    fmt::{self, Write},
};

use super::time;
use ntheap::{dump::ThreadInfo, process::Process};

/// What `!runaway`'s flags ask for.
const USER: u64 = 1;
const KERNEL: u64 = 2;
const ELAPSED: u64 = 4;

/// The start of 1970 as times of Windows: units of 100 nanoseconds since 1601.
const UNIX: u64 = 116_444_736_000_000_000;
/// Units in a millisecond.
const MILLISECOND: u64 = 10_000;

/// A table of times: its flag, its caption, and how long a thread took.
type Table<'t> = (u64, &'static str, &'t dyn Fn(&ThreadInfo) -> u64);

/// `!runaway FLAGS`: the threads by the time that they ran, the longest first.
///
/// # Errors
/// Those of `out`.
pub(crate) fn runaway(
    process: &Process<'_, '_>,
    infos: &[ThreadInfo],
    flags: u64,
    out: &mut dyn Write,
) -> fmt::Result {
    let taken = u64::from(process.dump.timestamp) * 1000 * MILLISECOND;
    let lived = |info: &ThreadInfo| {
        let created = info.created.saturating_sub(UNIX);
        taken.saturating_sub(created)
    };
    let tables: [Table<'_>; 3] = [
        (USER, "User Mode Time", &|info| info.user_time),
        (KERNEL, "Kernel Mode Time", &|info| info.kernel_time),
        (ELAPSED, "Elapsed Time", &lived),
    ];
    for (flag, caption, time_of) in tables {
        if flags & flag == 0 {
            continue;
        }
        writeln!(out, " {caption}\n  Thread       Time")?;
        let threads = process.dump.threads.iter().enumerate();
        let mut rows: Vec<_> = threads
            .filter_map(|(index, thread)| {
                let info = infos.iter().find(|info| info.id == thread.id)?;
                Some((time_of(info), index, thread.id))
            })
            .collect();
        rows.sort_by_key(|row| (Reverse(row.0), row.1));
        for (units, index, id) in rows {
            let name = format!("{index}:{id:x}");
            writeln!(out, "{name:>9}      {}", time::exact(units / MILLISECOND))?;
        }
    }
    Ok(())
}

/// `.ttime`: the times of one thread.
///
/// # Errors
/// Those of `out`.
pub(crate) fn thread_times(info: &ThreadInfo, out: &mut dyn Write) -> fmt::Result {
    let created = info.created.saturating_sub(UNIX) / MILLISECOND / 1000;
    writeln!(out, "Created: {}", time::date_of_session(created))?;
    writeln!(
        out,
        "Kernel:  {}",
        time::exact(info.kernel_time / MILLISECOND)
    )?;
    writeln!(
        out,
        "User:    {}",
        time::exact(info.user_time / MILLISECOND)
    )
}
