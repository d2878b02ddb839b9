//! Writes the dumps of a fleet to a folder, and to standard output the answer to what leaks in it.

use std::{env, fs, path::PathBuf, process::ExitCode};

use ntheap_synth::fleet;

fn main() -> ExitCode {
    let Some(folder) = env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: fleet DIR");
        return ExitCode::from(2);
    };
    fs::create_dir_all(&folder).expect("the folder");
    let mut count = 0;
    for member in fleet::fleet() {
        fs::write(folder.join(member.name), member.bytes).expect("written");
        count += 1;
    }
    println!("dumps {count}");
    println!("version {}", fleet::VERSION);
    println!("size {}", fleet::SIZE);
    println!("offset {:#x}", fleet::leaking_offset());
    for machine in fleet::LEAKING {
        println!("machine pc-{machine:02} {}", fleet::growth(machine));
    }
    ExitCode::SUCCESS
}
