//! Mapping a file into memory so that the loss of the file is an error, not the end of the program:
//! the one place with `unsafe`.
//!
//! A mapped file that another program cuts off, or that lies on a disk or share that goes away, can't
//! be read any more, and the system says so with a signal (`SIGBUS`) in the middle of a load. Reading
//! the file instead of mapping it would avoid that and cost a copy of every dump. So the signal is
//! caught: from the page that failed on, the map is replaced by zeros, the place is noted, and the load
//! is carried out again. Who used the bytes asks [`MappedFile::lost`] before a result is believed.
//!
//! Windows does not let go of a file that is mapped: nobody can cut it off. What can go away there,
//! files on other machines, is never mapped (see [`super::regular`]).
//!
//! ```
//! # fn main() -> std::io::Result<()> {
//! let file = ntheap::dump::MappedFile::new(std::fs::File::open("Cargo.toml")?)?;
//! assert!(file.starts_with(b"[package]"));
//! assert_eq!(file.lost(), None);
//! # Ok(())
//! # }
//! ```

use std::{
    fs::File,
    io,
    ops::Deref,
    sync::atomic::{AtomicU64, Ordering},
};

use memmap2::Mmap;

use super::room;

/// Reads of mapped files that failed, in the whole program.
static FAULTS: AtomicU64 = AtomicU64::new(0);

/// How many reads of mapped files have failed so far, in the whole program: a cheap question for who is
/// about to print a result. [`MappedFile::lost`] tells which file it was.
#[must_use]
pub fn read_faults() -> u64 {
    FAULTS.load(Ordering::Relaxed)
}

/// A file's bytes, mapped read-only.
#[derive(Debug)]
pub struct MappedFile {
    // Goes first: an address that is not mapped any more must not be watched.
    watch: watch::Watch,
    map: Mmap,
}

impl MappedFile {
    /// Maps a file.
    ///
    /// # Errors
    /// Those of the system.
    pub fn new(file: File) -> io::Result<Self> {
        // SAFETY: the map is read-only and lives as long as its owner. That another program cuts the
        // file off is made good by `watch`; that it writes other bytes into it can't be ruled out, and
        // all that is made of these bytes takes any bytes.
        let map = unsafe { Mmap::map(&file)? };
        let watch = watch::Watch::over(&map);
        Ok(MappedFile { watch, map })
    }

    /// Does work that looks at few places far apart. The system is asked not to read ahead meanwhile if it can't
    /// keep the whole file: what it brings in around each place (8 MB where its read-ahead is set so) would
    /// have gone again before it is wanted.
    pub fn scattered<T>(&self, work: impl FnOnce() -> T) -> T {
        let fits = room::for_files().is_none_or(|room| room >= self.map.len() as u64);
        if fits {
            return work();
        }
        self.read_ahead(false);
        let result = work();
        self.read_ahead(true);
        result
    }

    /// Advice that is not taken costs time alone.
    fn read_ahead(&self, wanted: bool) {
        #[cfg(unix)]
        {
            use memmap2::Advice::{Normal, Random};
            let _ = self.map.advise(if wanted { Normal } else { Random });
        }
        #[cfg(not(unix))]
        let _ = wanted;
    }

    /// The offset that the file could not be read from on, if that has happened. The bytes behind it
    /// are zero since then.
    #[must_use]
    pub fn lost(&self) -> Option<u64> {
        let from = self.watch.lost_from()?;
        Some(from.saturating_sub(self.map.as_ptr() as usize) as u64)
    }
}

impl Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map
    }
}

#[cfg(unix)]
mod watch {
    //! The maps that a failed read is made good for. What the handler of a signal touches is atomic
    //! and never goes away.

    use std::{
        mem, ptr,
        sync::{
            OnceLock,
            atomic::{AtomicUsize, Ordering},
        },
    };

    use super::FAULTS;

    /// An address that no map begins at: the place is being filled in.
    const TAKEN: usize = 1;
    const NOWHERE: usize = usize::MAX;

    /// A place for a map: free while `start` is 0.
    #[derive(Debug)]
    struct Place {
        start: AtomicUsize,
        end: AtomicUsize,
        lost_from: AtomicUsize,
    }

    /// Places for maps, and where there are more of them.
    struct Places {
        here: [Place; 32],
        more: OnceLock<Box<Places>>,
    }

    static PLACES: Places = Places::new();
    static PAGE: AtomicUsize = AtomicUsize::new(0);
    /// Who was told of the signal before.
    static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

    impl Places {
        const fn new() -> Self {
            Places {
                here: [const {
                    Place {
                        start: AtomicUsize::new(0),
                        end: AtomicUsize::new(0),
                        lost_from: AtomicUsize::new(NOWHERE),
                    }
                }; 32],
                more: OnceLock::new(),
            }
        }

        fn take(&'static self) -> &'static Place {
            let free = self.here.iter().find(|place| {
                let (success, failure) = (Ordering::AcqRel, Ordering::Relaxed);
                place
                    .start
                    .compare_exchange(0, TAKEN, success, failure)
                    .is_ok()
            });
            free.unwrap_or_else(|| self.more.get_or_init(|| Box::new(Places::new())).take())
        }

        fn holding(&'static self, address: usize) -> Option<&'static Place> {
            let holds = |place: &&Place| {
                let start = place.start.load(Ordering::Acquire);
                start > TAKEN && start <= address && address < place.end.load(Ordering::Acquire)
            };
            let here = self.here.iter().find(holds);
            here.or_else(|| self.more.get()?.holding(address))
        }
    }

    /// Keeps a map watched while it lives.
    #[derive(Debug)]
    pub(super) struct Watch(Option<&'static Place>);

    impl Watch {
        pub(super) fn over(map: &[u8]) -> Self {
            if map.is_empty() || !is_handled() {
                return Watch(None);
            }
            let place = PLACES.take();
            let start = map.as_ptr() as usize;
            let end = start.saturating_add(map.len());
            place.lost_from.store(NOWHERE, Ordering::Relaxed);
            place.end.store(end, Ordering::Release);
            place.start.store(start, Ordering::Release);
            Watch(Some(place))
        }

        pub(super) fn lost_from(&self) -> Option<usize> {
            let from = self.0?.lost_from.load(Ordering::Acquire);
            (from != NOWHERE).then_some(from)
        }
    }

    impl Drop for Watch {
        fn drop(&mut self) {
            if let Some(place) = self.0 {
                place.start.store(0, Ordering::Release);
            }
        }
    }

    /// Whether the signal comes here; asks for it the first time.
    fn is_handled() -> bool {
        static HANDLED: OnceLock<bool> = OnceLock::new();
        *HANDLED.get_or_init(|| {
            // SAFETY: plain questions to the system, and a handler that does what one may. All bytes of
            // the two structures may be zero.
            unsafe {
                let page = libc::sysconf(libc::_SC_PAGESIZE);
                PAGE.store(usize::try_from(page).unwrap_or(0x1000), Ordering::Relaxed);
                let mut before: libc::sigaction = mem::zeroed();
                if libc::sigaction(libc::SIGBUS, ptr::null(), &mut before) != 0 {
                    return false;
                }
                let _ = BEFORE.set(before);
                let mut action: libc::sigaction = mem::zeroed();
                let handler: extern "C" fn(_, _, _) = on_fault;
                action.sa_sigaction = handler as usize;
                action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
                libc::sigemptyset(&mut action.sa_mask);
                libc::sigaction(libc::SIGBUS, &action, ptr::null_mut()) == 0
            }
        })
    }

    extern "C" fn on_fault(
        signal: libc::c_int,
        info: *mut libc::siginfo_t,
        context: *mut libc::c_void,
    ) {
        // SAFETY: the system hands out a valid pointer.
        let address = unsafe { (*info).si_addr() } as usize;
        if !make_good(address) {
            pass_on(signal, info, context);
        }
    }

    /// Replaces a map's bytes by zeros from the page of `address` on: of a file that was cut off, what
    /// lies behind is gone too.
    fn make_good(address: usize) -> bool {
        let Some(place) = PLACES.holding(address) else {
            return false;
        };
        let page = address & !(PAGE.load(Ordering::Relaxed) - 1);
        let size = place.end.load(Ordering::Acquire) - page;
        // SAFETY: the range belongs to a map that this module owns, whose bytes nobody can read, and the
        // new one is of the same kind. The call is a plain system call, which a handler may make.
        let mapped = unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANON | libc::MAP_FIXED | libc::MAP_NORESERVE;
            libc::mmap(
                page as *mut libc::c_void,
                size,
                libc::PROT_READ,
                flags,
                -1,
                0,
            )
        };
        if mapped == libc::MAP_FAILED {
            return false;
        }
        place.lost_from.fetch_min(page, Ordering::AcqRel);
        FAULTS.fetch_add(1, Ordering::AcqRel);
        true
    }

    /// A fault of somebody else goes to who was told of it before, or ends the program as it would have.
    fn pass_on(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
        let before = BEFORE.get();
        let handler = before.map_or(libc::SIG_DFL, |before| before.sa_sigaction);
        let wants_info = before.is_some_and(|before| before.sa_flags & libc::SA_SIGINFO != 0);
        // SAFETY: what the system gave as the handler is one of these two functions, by its flag; with
        // the default action the load is carried out again and ends the program.
        unsafe {
            if handler == libc::SIG_DFL || handler == libc::SIG_IGN {
                libc::signal(signal, libc::SIG_DFL);
            } else if wants_info {
                type Handler = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
                mem::transmute::<usize, Handler>(handler)(signal, info, context);
            } else {
                mem::transmute::<usize, extern "C" fn(libc::c_int)>(handler)(signal);
            }
        }
    }
}

#[cfg(not(unix))]
mod watch {
    #[derive(Debug)]
    pub(super) struct Watch;

    impl Watch {
        pub(super) fn over(_map: &[u8]) -> Self {
            Watch
        }

        pub(super) fn lost_from(&self) -> Option<usize> {
            None
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn mapped(size: u64) -> (File, MappedFile) {
        let file = tempfile::tempfile().expect("a file");
        file.set_len(size).expect("grows");
        let map = MappedFile::new(file.try_clone().expect("a handle")).expect("maps");
        (file, map)
    }

    #[test]
    fn a_file_that_shrinks_reads_as_zeros_and_says_so() {
        let (file, map) = mapped(1 << 20);
        assert_eq!((map[0xf_ffff], map.lost()), (0, None));
        file.set_len(0x4_0000).expect("shrinks");
        assert_eq!((map[0x3_ffff], map.lost()), (0, None), "still there");
        let before = read_faults();
        assert_eq!((map[0x8_0123], map.lost()), (0, Some(0x8_0000)));
        assert_eq!(map.iter().map(|&byte| u64::from(byte)).sum::<u64>(), 0);
        assert_eq!(map.lost(), Some(0x4_0000));
        assert!(read_faults() >= before + 2);
    }

    #[test]
    fn every_map_has_its_own_loss() {
        let maps: Vec<_> = (0..100).map(|_| mapped(0x2000)).collect();
        for (index, (file, _)) in maps.iter().enumerate() {
            if index % 7 == 0 {
                file.set_len(0).expect("shrinks");
            }
        }
        std::thread::scope(|scope| {
            for (_, map) in &maps {
                scope.spawn(|| assert_eq!(map[0x1fff], 0));
            }
        });
        for (index, (_, map)) in maps.iter().enumerate() {
            assert_eq!(map.lost(), (index % 7 == 0).then_some(0x1000), "{index}");
        }
    }
}
