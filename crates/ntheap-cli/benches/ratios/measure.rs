//! Times of reading a file and of running the program, and the memory that it takes.

use std::{
    fs,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Runs of each measurement; the best counts, as everything else is the machine's other work.
pub(crate) const RUNS: usize = 3;
/// Between two looks at the memory of a process.
const LOOK: Duration = Duration::from_millis(5);

/// Reads the file from its beginning to its end into a buffer: a copy out of the page cache.
pub(crate) fn read_once(path: &Path) -> Duration {
    let begun = Instant::now();
    let mut file = File::open(path).expect("opens");
    let mut buffer = vec![0; 1 << 20];
    while let Ok(1..) = file.read(&mut buffer) {}
    begun.elapsed()
}

/// `cat FILE | wc -c`: the file through a pipe into another process.
pub(crate) fn piped(path: &Path) -> Duration {
    let begun = Instant::now();
    let mut cat = Command::new("cat")
        .arg(path)
        .stdout(Stdio::piped())
        .spawn()
        .expect("cat runs");
    let count = Command::new("wc")
        .arg("-c")
        .stdin(cat.stdout.take().expect("a pipe"))
        .output();
    assert!(cat.wait().expect("ends").success() && count.expect("wc runs").status.success());
    begun.elapsed()
}

/// The most memory of its own that a process has had, in bytes, as often as it could be asked.
fn private_memory(child: &mut Child) -> u64 {
    let status = format!("/proc/{}/status", child.id());
    let mut most = 0;
    while let Ok(None) = child.try_wait() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        most = most.max(kilobytes.unwrap_or(0) << 10);
        thread::sleep(LOOK);
    }
    most
}

/// What a run of the program took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) time: Duration,
    /// The most private memory, in bytes.
    pub(crate) memory: u64,
}

impl Run {
    pub(crate) fn megabytes(self) -> u64 {
        self.memory >> 20
    }
}

fn timed(mut command: Command) -> Run {
    let begun = Instant::now();
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let memory = private_memory(&mut child);
    let status = child.wait().expect("ends");
    assert!(status.success(), "{command:?}: {status}");
    Run {
        time: begun.elapsed(),
        memory,
    }
}

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ntheap"));
    command.args(arguments);
    command
}

/// The best of some runs; its memory is the most of all.
pub(crate) fn ntheap(arguments: &[&str]) -> Run {
    let runs: Vec<Run> = (0..RUNS).map(|_| timed(program(arguments))).collect();
    let time = runs.iter().map(|run| run.time).min();
    let memory = runs.iter().map(|run| run.memory).max();
    Run {
        time: time.unwrap_or_default(),
        memory: memory.unwrap_or_default(),
    }
}

/// Runs the program once.
pub(crate) fn once(arguments: &[&str]) -> Run {
    timed(program(arguments))
}

/// What the program prints.
pub(crate) fn output(arguments: &[&str]) -> String {
    let output = program(arguments).output().expect("the program starts");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Takes a file out of the page cache. What was not written yet stays there, so it is written first.
pub(crate) fn forget(path: &Path) {
    File::open(path)
        .and_then(|file| file.sync_all())
        .expect("synced");
    let told = Command::new("dd")
        .arg(format!("if={}", path.display()))
        .args(["iflag=nocache", "count=0", "status=none"])
        .status();
    assert!(
        told.is_ok_and(|status| status.success()),
        "dd: not forgotten"
    );
}

/// A control group whose processes have so much memory, the page cache of what they read included.
pub(crate) struct Limit(PathBuf);

impl Limit {
    /// `None` where groups can't be made: not as the superuser, or not on this system.
    pub(crate) fn of(bytes: u64) -> Option<Self> {
        let name = format!("ntheap-ratios-{}", std::process::id());
        [
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            ("/sys/fs/cgroup", "memory.max"),
        ]
        .into_iter()
        .find_map(|(root, limit)| {
            let group = Path::new(root).join(&name);
            fs::create_dir(&group).ok()?;
            match group.join(limit).exists()
                && fs::write(group.join(limit), bytes.to_string()).is_ok()
            {
                true => Some(Limit(group)),
                false => {
                    let _ = fs::remove_dir(&group);
                    None
                }
            }
        })
    }

    fn run(&self, command: &Command) -> Run {
        let mut inside = Command::new("sh");
        inside
            .args(["-c", "echo $$ > \"$0\" && exec \"$@\""])
            .arg(self.0.join("cgroup.procs"))
            .arg(command.get_program())
            .args(command.get_args());
        timed(inside)
    }

    /// The program in the group.
    pub(crate) fn ntheap(&self, arguments: &[&str]) -> Run {
        self.run(&program(arguments))
    }

    /// Reads a file from its beginning to its end in the group.
    pub(crate) fn read(&self, path: &Path) -> Run {
        let mut reader = Command::new("dd");
        reader.arg(format!("if={}", path.display()));
        reader.args(["of=/dev/null", "bs=1M", "status=none"]);
        self.run(&reader)
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}
