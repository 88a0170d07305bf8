//! Whether a folder can be used. Asked before anything is shared and before an invitation is used up.

use std::io;
use std::path::Path;

use cs_node::Home;
use cs_node::api::{Problem, ProblemCode};
use rustix::fs::{Access, access};

/// The folder of a `share`, absolute and free of symbolic links.
pub(crate) fn to_share(home: &Home, dir: &Path) -> Result<String, Problem> {
    let real = dir.canonicalize().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            unusable(dir, "there is no such directory", "Make it first: `mkdir -p DIR`. Or mistyped?")
        }
        _ => unusable(dir, &plain(&error), "Choose a directory that you may read and write."),
    })?;
    existing(&real, dir)?;
    apart(home, &real)?;
    text(&real)
}

/// The folder of a `join`, absolute, with what exists of it free of symbolic links. It need not exist.
pub(crate) fn to_join(home: &Home, dir: &Path) -> Result<String, Problem> {
    let absolute = std::path::absolute(dir)
        .map_err(|error| unusable(dir, &plain(&error), "Name a directory, such as `~/notes`."))?;
    let mut missing: Vec<&std::ffi::OsStr> = Vec::new();
    let mut at: &Path = &absolute;
    // Dangling links count as there, and are then found to lead nowhere.
    let real = loop {
        match at.symlink_metadata() {
            Ok(_) => {
                break at
                    .canonicalize()
                    .map_err(|error| unusable(dir, &plain(&error), "Choose another directory."))?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let (Some(parent), Some(name)) = (at.parent(), at.file_name()) else {
                    return Err(unusable(dir, "there is nothing to make it in", "Choose another directory."));
                };
                missing.push(name);
                at = parent;
            }
            Err(error) => return Err(unusable(dir, &plain(&error), "Choose another directory.")),
        }
    };
    existing(&real, if missing.is_empty() { dir } else { at })?;
    if let Some(first) = missing.last() {
        // Only making it shows that it can be made: permissions do not tell all. It is made for good when it is joined.
        let probe = real.join(first);
        let made = std::fs::create_dir(&probe).and_then(|()| std::fs::remove_dir(&probe));
        made.map_err(|error| {
            unusable(dir, &format!("it cannot be made ({})", plain(&error)), "Choose another place for it.")
        })?;
    }
    let real = missing.iter().rev().fold(real, |path, name| path.join(name));
    apart(home, &real)?;
    text(&real)
}

/// A directory that is there must be one that can be read and written. `shown` is how its user calls it.
fn existing(real: &Path, shown: &Path) -> Result<(), Problem> {
    if !real.is_dir() {
        return Err(unusable(
            shown,
            "it is not a directory",
            "Name a directory: single files are synced inside one.",
        ));
    }
    access(real, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK).map_err(|error| {
        let error = io::Error::from(error);
        unusable(
            shown,
            &plain(&error),
            "Choose a directory that you may read and write, or change its permissions.",
        )
    })
}

/// The state of the node must not be synced to others, nor a folder live inside the state.
fn apart(home: &Home, dir: &Path) -> Result<(), Problem> {
    let home = home.path().canonicalize().unwrap_or_else(|_| home.path().to_path_buf());
    if home.starts_with(dir) || dir.starts_with(&home) {
        let what = format!("it and the state directory {} lie within each other", home.display());
        return Err(unusable(dir, &what, "Choose another folder, or another state directory by `--home`."));
    }
    Ok(())
}

fn text(dir: &Path) -> Result<String, Problem> {
    dir.to_str().map(str::to_owned).ok_or_else(|| {
        unusable(dir, "its own path is not UTF-8", "Names inside a folder may be; rename the folder itself.")
    })
}

fn unusable(dir: &Path, why: &str, hint: &str) -> Problem {
    Problem::new(ProblemCode::Folder, format!("The folder {} cannot be used: {why}.", dir.display()), hint)
}

/// What the system says, without its error number.
pub(crate) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    text[..1].to_lowercase() + &text[1..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    fn places() -> (tempfile::TempDir, Home, PathBuf) {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().canonicalize().unwrap();
        let home = Home::find(Some(root.join("home"))).unwrap();
        home.create().unwrap();
        (temp, home, root)
    }

    #[test]
    fn a_folder_is_named_by_where_it_really_is() {
        let (_temp, home, root) = places();
        std::fs::create_dir(root.join("real")).unwrap();
        symlink(root.join("real"), root.join("link")).unwrap();
        let real = root.join("real").to_str().unwrap().to_owned();
        assert_eq!(to_share(&home, &root.join("link")), Ok(real.clone()));
        assert_eq!(to_join(&home, &root.join("link/new/deep")), Ok(format!("{real}/new/deep")));
    }

    #[test]
    fn files_dangling_links_and_what_is_missing_are_no_folders() {
        let (_temp, home, root) = places();
        std::fs::write(root.join("file"), "").unwrap();
        symlink(root.join("nowhere"), root.join("dangling")).unwrap();
        let why = |result: Result<String, Problem>| result.unwrap_err().message;
        assert!(why(to_share(&home, &root.join("file"))).contains("it is not a directory"));
        assert!(why(to_share(&home, &root.join("missing"))).contains("there is no such directory"));
        assert!(why(to_join(&home, &root.join("file"))).contains("it is not a directory"));
        assert!(why(to_join(&home, &root.join("file/below"))).contains("not a directory"));
        assert!(why(to_join(&home, &root.join("dangling"))).contains("no such file"));
        assert!(to_join(&home, &root.join("missing")).is_ok());
        assert!(why(to_join(&home, Path::new("/proc/missing"))).contains("it cannot be made"));
        assert!(!root.join("missing").exists());
    }

    #[test]
    fn the_state_directory_is_never_shared() {
        let (_temp, home, root) = places();
        for dir in [root.clone(), root.join("home"), root.join("home/store")] {
            let problem = to_join(&home, &dir).unwrap_err();
            assert_eq!(problem.code, ProblemCode::Folder);
            assert!(problem.message.contains("lie within each other"), "{}", problem.message);
        }
    }
}
