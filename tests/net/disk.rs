//! A disk that is full, as a small file system in memory: only root can mount one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cs_node::api::{Access, Reply, Request};
use cs_tests::real::{fill, skipped, until};

use crate::lab::{LIMIT, Lab, become_equal};

const MIB: u64 = 1 << 20;

/// A file system of its own, gone at the end.
struct Mount(PathBuf);

impl Mount {
    /// Nothing where it is not allowed; that is told.
    fn new(path: PathBuf, mib: u64) -> Option<Self> {
        fs::create_dir_all(&path).unwrap();
        let size = format!("size={mib}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&path).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(path));
        }
        skipped("only root can mount the small disk that this test fills");
        None
    }

    fn path(&self) -> &Path {
        &self.0
    }

    /// Leaves so many bytes free, by a file that is in the way until it is removed.
    fn fill(&self, name: &str, but: u64) -> PathBuf {
        let path = self.0.join(name);
        let size = fs::metadata(&path).map_or(0, |m| m.len());
        assert_eq!(size, 0, "filled once");
        // The file system itself says where it ends.
        let full = fill(&path, u64::MAX, 1).expect_err("the disk is small");
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
        let length = fs::metadata(&path).unwrap().len();
        fs::File::options().write(true).open(&path).unwrap().set_len(length - but).unwrap();
        path
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn a_folder_on_a_full_disk_says_so_and_fills_up_when_there_is_room() {
    let lab = Lab::new();
    let Some(mount) = Mount::new(lab.path("small"), 16) else { return };
    let (from, to) = (lab.folder("from", &[("small.txt", "small")]), mount.path().join("to"));
    let filler = mount.fill("filler", 2 * MIB);
    fill(&from.join("large.bin"), 4 * MIB, 2).unwrap();
    let (sharer, joiner) = (lab.setup("a").up().unwrap(), lab.setup("b").up().unwrap());
    let invited = sharer.share(&from, Access::Write).unwrap();
    joiner.join(&invited.invitation, &to).unwrap();
    let told = until(LIMIT, || {
        joiner
            .space()?
            .problems
            .into_iter()
            .find(|problem| problem.why.contains("disk") && problem.why.contains("room"))
    });
    assert!(told.is_some(), "{:?}", joiner.space());
    fs::remove_file(filler).unwrap();
    become_equal(&from, &to);
    assert!(
        until(LIMIT, || joiner.space().filter(|s| s.problems.is_empty())).is_some(),
        "{:?}",
        joiner.space()
    );
}

#[test]
fn a_full_disk_under_the_state_refuses_and_loses_nothing_acknowledged() {
    let lab = Lab::new();
    let Some(mount) = Mount::new(lab.path("small"), 24) else { return };
    let setup = cs_tests::real::Setup::new(mount.path().join("home"));
    let node = setup.up().unwrap();
    node.share(&lab.folder("folder", &[]), Access::Write).unwrap();
    let put = |number: u64| {
        let value = serde_json::json!({ "number": number, "text": "x".repeat(1000) });
        Request::Put { space: None, path: format!("documents/{number}"), value }
    };
    node.ask(&put(0)).unwrap();
    let filler = mount.fill("filler", 64 << 10);
    let mut acknowledged = 0;
    let refused = (1..2000).find_map(|number| match node.ask(&put(number)) {
        Ok(_) => {
            acknowledged = number;
            None
        }
        Err(problem) => Some(problem),
    });
    let problem = refused.expect("the disk is full");
    assert_eq!(problem.code.exit_code(), 9, "{problem:?}");
    assert!(!problem.hint.is_empty());
    fs::remove_file(filler).unwrap();

    let again = until(LIMIT, || node.ask(&put(5000)).ok());
    assert!(again.is_some(), "room was made: {:?}", node.ask(&put(5000)));
    node.kill().unwrap();
    let node = setup.up().unwrap();
    for number in (0..=acknowledged).chain([5000]) {
        let get = Request::Get { space: None, path: format!("documents/{number}") };
        let reply = node.ask(&get);
        let Ok(Reply::Document { value, .. }) = reply else {
            panic!("{number} of {acknowledged}: {reply:?}")
        };
        assert_eq!(value["number"], number);
    }
}
