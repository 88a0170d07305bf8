//! The first half of the story: nodes that meet, and work at the same time.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::time::Instant;

use cs_node::api::{Access, Reply, Request, SpaceState};

use crate::cli::demo::actor::{Look, wait};
use crate::cli::demo::stage::Stage;
use crate::cli::demo::tree::{self, LARGE};
use crate::cli::demo::{Evidence, Unmet, check};
use crate::cli::words::{short, size};

/// Lifetime of the invitations, in seconds.
const EXPIRES_S: u64 = 600;

/// The lighthouse first: the others find each other through it.
pub(crate) async fn start(stage: &mut Stage) -> Evidence {
    let lighthouse = stage.lighthouse.start(&["--role", "bootstrap"]).await?;
    let address =
        lighthouse.listen.first().ok_or_else(|| Unmet("the lighthouse listens nowhere".to_owned()))?;
    let bootstrap = format!("{}@{address}", lighthouse.node);
    for actor in [&mut stage.alice, &mut stage.bob, &mut stage.carol] {
        actor.start(&["--bootstrap", &bootstrap]).await?;
    }
    if stage.plants() {
        stage.carol.kill()?;
    }
    let actors = [&stage.lighthouse, &stage.alice, &stage.bob, &stage.carol];
    for actor in actors {
        // It was told of one node at most; the others it learned from that one.
        wait(&format!("{} knows the three others", actor.name), async || {
            let known = actor.status().await?.dht_contacts;
            Ok(if known == 3 { Look::Seen(()) } else { Look::NotYet(format!("it knows {known}")) })
        })
        .await?;
    }
    let distinct: BTreeSet<_> = actors.iter().map(|a| (a.pid(), &a.id)).collect();
    check(distinct.len() == 4, || format!("these are not four nodes: {distinct:?}"))?;
    let who = actors.map(|a| format!("{} (process {})", a.name, a.pid())).join(", ");
    Ok(vec![who, "each knows the three others; all it was told is where the lighthouse is".to_owned()])
}

pub(crate) async fn share(stage: &mut Stage) -> Evidence {
    let alice = &stage.alice;
    fs::create_dir(&alice.folder)?;
    tree::make(&alice.folder)?;
    let made = tree::compare(&alice.folder, &alice.folder).await?;
    if stage.plants() {
        fs::write(alice.folder.join("uncounted"), "nobody told the demo of this")?;
    }
    let request = Request::Share {
        folder: alice.folder.display().to_string(),
        name: None,
        access: Access::Write,
        expires_s: EXPIRES_S,
    };
    let Reply::Invited(invited) = alice.ask(request).await? else {
        return Err(Unmet("no invitation came of it".to_owned()));
    };
    let entries = made.files + made.dirs + made.links;
    let so = alice
        .until(&format!("{entries} entries are shared"), |s| {
            s.operations >= entries && s.state != SpaceState::Scanning
        })
        .await?;
    check((so.files, so.bytes) == (made.files + made.links, made.bytes), || {
        format!("made were {made:?}; the node counts {} files and links of {} bytes", so.files, so.bytes)
    })?;
    stage.invitation = invited.invitation;
    let links = made.links;
    Ok(vec![format!(
        "{} files in {} directories and {links} links, {}, the largest {}: counted alike by the node",
        made.files,
        made.dirs,
        size(made.bytes),
        size(LARGE.1)
    )])
}

pub(crate) async fn join(stage: &mut Stage) -> Evidence {
    let Stage { alice, bob, invitation, .. } = &*stage;
    let began = Instant::now();
    let request = Request::Join {
        ticket: invitation.clone(),
        folder: Some(bob.folder.display().to_string()),
        limit_s: None,
    };
    bob.ask(request).await?;
    let space = bob.until_same_as(alice).await?;
    let took = began.elapsed().as_secs_f64();
    if stage.plants() {
        tree::flip(&bob.folder.join("README.txt"))?;
    }
    let same = tree::compare(&alice.folder, &bob.folder).await?;
    Ok(vec![
        format!("{} came in {took:.1} s, each byte of them encrypted on its way", size(space.bytes_received)),
        format!(
            "both folders read and compared: {} files, {} directories, {} links, executable bits, {} bytes: equal",
            same.files, same.dirs, same.links, same.bytes
        ),
    ])
}

/// A code has no address in it: the inviter is found through the lighthouse.
pub(crate) async fn join_by_code(stage: &mut Stage) -> Evidence {
    let Stage { alice, carol, .. } = &*stage;
    let access = if stage.plants() { Access::Write } else { Access::Read };
    let Reply::Invited(invited) =
        alice.ask(Request::Invite { space: None, access, expires_s: EXPIRES_S }).await?
    else {
        return Err(Unmet("no invitation came of it".to_owned()));
    };
    let request = |folder| Request::Join { ticket: invited.code.clone(), folder, limit_s: None };
    carol.ask(request(None)).await?;
    let space = carol.until("the rights are known", |s| s.access != "none").await?;
    check(space.access == "read", || format!("Carol may {}, and was to read only", space.access))?;
    check(space.id == invited.space, || format!("Carol joined {}, which is another space", space.id))?;
    let Reply::Members { members } = alice.ask(Request::Who { space: None }).await? else {
        return Err(Unmet("no list of members".to_owned()));
    };
    let listed = members.iter().map(|m| format!("{} may {}", stage.name_of(&m.node), m.access));
    let mut listed: Vec<String> = listed.collect();
    listed.sort();
    check(listed.len() == 3, || format!("the members are {listed:?}"))?;
    Ok(vec![
        format!("{} led to {}… without an address in it, and is used up", invited.code, short(&alice.id)),
        format!("the members, as Alice's node lists them: {}", listed.join(", ")),
    ])
}

/// Alice writes, renames and deletes; Bob changes a few bytes in the middle of the large file.
pub(crate) async fn edit(stage: &mut Stage) -> Evidence {
    let Stage { alice, bob, .. } = &*stage;
    let before = (alice.space().await?.bytes_received, bob.space().await?.bytes_received);
    let (middle, mark) = (LARGE.1 / 2, "Bob was here");
    let large = bob.folder.join(LARGE.0);
    if stage.plants() {
        tree::fill(&large, 2000, LARGE.1)?;
    }
    File::options().write(true).open(&large)?.write_all_at(mark.as_bytes(), middle)?;
    fs::rename(alice.folder.join("photos"), alice.folder.join("pictures"))?;
    fs::remove_file(alice.folder.join("old.txt"))?;
    let began = Instant::now();
    fs::write(alice.folder.join("notes/new.txt"), "Alice was here")?;
    bob.until_file("notes/new.txt", Some("Alice was here")).await?;
    let edit_ms = began.elapsed().as_millis();
    bob.until_file("old.txt", None).await?;
    let at_alice = alice.folder.join(LARGE.0);
    wait("Bob's change is in Alice's large file", async || {
        let mut found = vec![0; mark.len()];
        File::open(&at_alice)?.read_exact_at(&mut found, middle)?;
        let seen = found == mark.as_bytes();
        Ok(if seen { Look::Seen(()) } else { Look::NotYet("the bytes from before".to_owned()) })
    })
    .await?;
    alice.until_same_as(bob).await?;
    tree::compare(&alice.folder, &bob.folder).await?;
    let to_alice = alice.space().await?.bytes_received - before.0;
    let to_bob = bob.space().await?.bytes_received - before.1;
    // A change of a few bytes costs a chunk or two of at most 256 kB and the file's list; a rename costs no content.
    check(to_alice <= LARGE.1 / 16, || {
        format!("a change of {} bytes sent {to_alice} bytes of chunks", mark.len())
    })?;
    check(to_bob <= 100_000, || {
        format!("a rename, a deletion and a short file sent {to_bob} bytes of chunks")
    })?;
    Ok(vec![
        format!(
            "a file that Alice wrote was in Bob's folder after {edit_ms} ms; her rename of 12 pictures moved {to_bob} bytes"
        ),
        format!(
            "Bob changed {} bytes inside {}: {} were sent; both folders compared: equal",
            mark.len(),
            size(LARGE.1),
            size(to_alice)
        ),
    ])
}
