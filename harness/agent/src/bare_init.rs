//! The least that can be PID 1: says that it runs, for the boot benchmark to compare the agent
//! with, and no more.

use nix::unistd::pause;

fn main() {
    println!("bare init");
    loop {
        pause();
    }
}
