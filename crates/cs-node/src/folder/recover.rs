//! After a crash: replaced files that the index does not know of yet find their way back into `kept/`.
//!
//! The index is never ahead of the disk, so what it lost is at most this: a file moved to `kept/`, or exchanged into `tmp/`
//! and not moved on, or taken out of `kept/` into `tmp/`. Each still has the inode, size and time it had where the index
//! remembers it. Without this, a version that lost against a concurrent one could have its last copy forgotten.

use std::collections::BTreeMap;

use super::content::Content;
use super::index::{Index, SourceId};
use super::record::{Entry, Kept, Place};
use super::source::kept_path;
use super::vfs::{Kind, Rename, Stat, Vfs, VfsError};
use super::{FolderError, KEPT, RelPath, TMP, own};

/// Sets index and `kept/` right, and numbers sources above whatever is there. Reads two directories; and the whole index if
/// anything was left behind.
pub(crate) fn recover(vfs: &impl Vfs, index: &mut Index) -> Result<(), FolderError> {
    let files = list(vfs, KEPT)?;
    let numbers = files.iter().filter_map(|(path, stat)| Some((source_of(path)?, *stat)));
    let on_disk: BTreeMap<SourceId, Stat> = numbers.collect();
    index.reserve_sources(on_disk.keys().next_back().copied().unwrap_or(0))?;
    let known: BTreeMap<SourceId, Kept> = index.all_kept()?.into_iter().collect();
    let strays = list(vfs, TMP)?;
    for (source, kept) in &known {
        if !on_disk.contains_key(source) {
            put_back(vfs, index, *source, kept, &strays)?;
        }
    }
    let unknown = on_disk.iter().any(|(source, _)| !known.contains_key(source));
    if !unknown && strays.is_empty() {
        return Ok(());
    }
    for (path, entry) in replaced_files(index)? {
        let (Some(source), Some(stat)) = (entry.source, entry.stat) else { continue };
        let in_kept =
            on_disk.get(&source).filter(|kept| kept.same_file(&stat) && !known.contains_key(&source));
        let stray = strays.iter().find(|(_, stray)| stray.same_file(&stat));
        if in_kept.is_none() {
            let Some((stray, _)) = stray else { continue };
            if vfs.rename(stray, &kept_path(source), Rename::NoReplace).is_err() {
                continue;
            }
        }
        adopt(vfs, index, source, path, entry)?;
    }
    Ok(())
}

/// The file of a kept version was taken to become another path's, and that never came about.
fn put_back(
    vfs: &impl Vfs,
    index: &mut Index,
    source: SourceId,
    kept: &Kept,
    strays: &[(RelPath, Stat)],
) -> Result<(), FolderError> {
    let same = |stat: &Stat| stat.inode == kept.stat.inode && stat.size == kept.stat.size;
    let Some((stray, _)) = strays.iter().find(|(_, stat)| same(stat)) else { return Ok(()) };
    if vfs.rename(stray, &kept_path(source), Rename::NoReplace).is_ok()
        && let Ok(stat) = vfs.stat(&kept_path(source))
    {
        index.put_kept(source, &Kept { stat, ..kept.clone() })?;
        index.put_place(source, &Place::Kept)?;
    }
    Ok(())
}

fn adopt(
    vfs: &impl Vfs,
    index: &mut Index,
    source: SourceId,
    path: RelPath,
    entry: Entry,
) -> Result<(), FolderError> {
    let Ok(stat) = vfs.stat(&kept_path(source)) else { return Ok(()) };
    // The rename set this time; there is no other clock here.
    let kept_unix_ms = u64::try_from(stat.ctime_ns / 1_000_000).unwrap_or(0);
    let (content, versions) = (entry.content.clone(), entry.versions.clone());
    index.put_kept(source, &Kept { path: path.clone(), content, versions, kept_unix_ms, stat })?;
    index.put_place(source, &Place::Kept)?;
    // That this file is not at its path any more is our doing, and no one's edit. What is there instead the next scan reports.
    Ok(index.put_entry(&path, &Entry::tombstone(entry.versions))?)
}

/// Files the index has, page by page. (All of them: which were replaced only their inodes tell.)
fn replaced_files(index: &mut Index) -> Result<Vec<(RelPath, Entry)>, FolderError> {
    const PAGE: usize = 1024;
    let mut files = Vec::new();
    let mut from = Vec::new();
    loop {
        let page = index.page(&from, PAGE)?;
        let Some((last, _)) = page.last() else { return Ok(files) };
        from = [last.key().as_slice(), &[0]].concat();
        files.extend(page.into_iter().filter(|(_, entry)| matches!(entry.content, Content::File { .. })));
    }
}

fn list(vfs: &impl Vfs, dir: &[u8]) -> Result<Vec<(RelPath, Stat)>, FolderError> {
    let dir = own(&[dir]);
    let listed = match vfs.list(Some(&dir)) {
        Err(VfsError::NotFound) => Vec::new(),
        listed => listed.map_err(FolderError::Disk)?,
    };
    let files = listed.into_iter().filter(|(_, stat)| stat.kind == Kind::File);
    Ok(files.filter_map(|(name, stat)| Some((RelPath::under(Some(&dir), &name).ok()?, stat))).collect())
}

fn source_of(path: &RelPath) -> Option<SourceId> {
    let name = std::str::from_utf8(path.name()).ok()?;
    u64::from_str_radix(name, 16).ok().filter(|number| *number < u64::MAX)
}
