//! Where the `cosync` binary is.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

/// The binary of this executable's own profile, built if it is missing or older than the sources; or the one that
/// `COSYNC_BIN` names.
///
/// # Panics
/// When it cannot be built: nothing here can be tested then.
pub fn cosync() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| found().expect("the cosync binary is there or can be built"))
}

fn found() -> io::Result<PathBuf> {
    if let Some(named) = std::env::var_os("COSYNC_BIN") {
        return PathBuf::from(named).canonicalize();
    }
    let own = std::env::current_exe()?;
    // Tests lie one level deeper than binaries.
    let dir = own.ancestors().skip(1).find(|dir| !dir.ends_with("deps")).unwrap_or(Path::new("."));
    let binary = dir.join("cosync");
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates");
    let built = binary.metadata().and_then(|m| m.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
    if newest(&sources) > built {
        build(dir)?;
    }
    binary.canonicalize()
}

fn build(dir: &Path) -> io::Result<()> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--package", "cs-node", "--bin", "cosync", "--target-dir"]);
    cargo.arg(dir.parent().unwrap_or(dir)).current_dir(env!("CARGO_MANIFEST_DIR"));
    if dir.ends_with("release") {
        cargo.arg("--release");
    }
    if cargo.status()?.success() { Ok(()) } else { Err(io::Error::other("cargo build failed")) }
}

/// When anything was last written that may go into the binary.
fn newest(dir: &Path) -> SystemTime {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let times = entries.map(|entry| {
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() {
            let is_source = !["tests", "examples", "benches"].iter().any(|other| name == *other);
            return if is_source { newest(&path) } else { SystemTime::UNIX_EPOCH };
        }
        let is_source = path.extension().is_some_and(|e| e == "rs" || e == "toml");
        let written = entry.metadata().and_then(|m| m.modified());
        written.ok().filter(|_| is_source).unwrap_or(SystemTime::UNIX_EPOCH)
    });
    times.max().unwrap_or(SystemTime::UNIX_EPOCH)
}
