//! The second half of the story: a node that dies, one that is shut out, and the end.

use std::fs;
use std::path::Path;

use cs_node::api::{Reply, Request, Space};
use serde_json::json;

use crate::cli::demo::actor::{Look, wait};
use crate::cli::demo::stage::Stage;
use crate::cli::demo::tree;
use crate::cli::demo::{Evidence, Unmet, check};
use crate::cli::words::size;

/// Size in bytes of the file that is on its way when the node is killed.
const FILM: u64 = 128 << 20;

/// A transfer that is over before it was noticed is tried again with another file, this often in all.
const TRIES: u64 = 4;

/// Kills Bob's node during a transfer, and starts it again.
pub(crate) async fn kill(stage: &mut Stage) -> Evidence {
    let mut killed = None;
    let mut film = String::new();
    for attempt in 1..=TRIES {
        film = format!("video/film {attempt}.bin");
        tree::fill(&stage.alice.folder.join(&film), 3000 + attempt, FILM)?;
        killed = kill_during(stage, &film).await?;
        if killed.is_some() {
            break;
        }
        stage.bob.until_same_as(&stage.alice).await?;
    }
    let killed = killed
        .ok_or_else(|| Unmet(format!("{TRIES} transfers were over before they could be broken off")))?;
    check(!stage.bob.folder.join(&film).exists(), || format!("half of {film} is in Bob's folder"))?;
    let tmp = stage.bob.folder.join(".cosync/tmp");
    let there = tree::allocated(&tmp)?;
    check(there >= FILM / 16, || format!("of {film} only {there} bytes were on Bob's disk"))?;
    if stage.plants() {
        fs::remove_dir_all(&tmp)?;
    }
    fs::write(stage.alice.folder.join("meanwhile.txt"), "Bob's node was down")?;

    stage.bob.start(&[]).await?;
    let Stage { alice, bob, .. } = &*stage;
    bob.until_file("meanwhile.txt", Some("Bob's node was down")).await?;
    let after = bob.until_same_as(alice).await?;
    tree::compare(&alice.folder, &bob.folder).await?;
    // What lies on disk is counted in whole blocks, and the list of the chunks is asked for once more.
    let most = FILM - there + FILM / 32;
    check(after.bytes_received <= most, || {
        format!(
            "{there} of {FILM} bytes were there, and {} came again: more than {most}",
            after.bytes_received
        )
    })?;
    let saved = json!({ "acknowledged": true });
    for actor in [alice, bob] {
        actor.until_document("saved.json", &saved).await?;
    }
    Ok(vec![
        format!(
            "SIGKILL with {} of {} received; no half file in the folder",
            size(killed.received),
            size(FILM)
        ),
        format!(
            "started again: the {} that were on disk stayed, only {} came; both folders compared: equal",
            size(there),
            size(after.bytes_received)
        ),
        "an edit that Bob's node had acknowledged just before it was killed is at Alice's".to_owned(),
    ])
}

/// How far a transfer was when it was broken off.
struct Killed {
    received: u64,
}

/// Kills Bob's node when a part of a new file has come. `None` if all of it had come.
async fn kill_during(stage: &mut Stage, film: &str) -> Result<Option<Killed>, Unmet> {
    let Stage { bob, .. } = stage;
    let before = bob.space().await?.bytes_received;
    let over = |space: &Space, at: &Path| space.files_wanted == 0 && at.exists();
    let at = bob.folder.join(film);
    let received = wait("a transfer to Bob is under way", async || {
        let space = bob.space().await?;
        let received = space.bytes_received - before;
        if over(&space, &at) {
            return Ok(Look::Seen(None));
        }
        let under_way = received >= FILM / 8 && space.bytes_wanted > 0;
        Ok(if under_way {
            Look::Seen(Some(received))
        } else {
            Look::NotYet(format!("{received} bytes received"))
        })
    })
    .await?;
    let Some(received) = received else { return Ok(None) };
    bob.put("saved.json", &json!({ "acknowledged": true })).await?;
    let last = bob.space().await?;
    bob.kill()?;
    // It was alive until now: only what is on disk after its death tells whether it was in time.
    Ok((!at.exists()).then_some(Killed { received: received.max(last.bytes_received - before) }))
}

/// Takes away what Carol was granted.
pub(crate) async fn revoke(stage: &mut Stage) -> Evidence {
    let Stage { alice, bob, carol, .. } = &*stage;
    let path = "secret.json";
    let (old, new) = (json!({ "for": "all" }), json!({ "for": "Alice and Bob" }));
    alice.put(path, &old).await?;
    for actor in [bob, carol] {
        actor.until_document(path, &old).await?;
    }
    if !stage.plants() {
        alice.ask(Request::Revoke { space: None, node: carol.id.clone() }).await?;
    }
    alice.put(path, &new).await?;
    bob.until_document(path, &new).await?;
    carol.until("the access is gone", |s| s.access == "none").await?;
    let has = carol.get(path).await?;
    check(has.as_ref().is_some_and(|(value, _)| *value == old), || format!("Carol reads {has:?}"))?;
    let operations = (alice.space().await?.operations, carol.space().await?.operations);
    check(operations.1 < operations.0, || {
        format!("Carol's node was sent the newest of {} operations", operations.0)
    })?;
    Ok(vec![format!(
        "what Alice wrote next is at Bob's; Carol's node was not sent it, and still reads {old}"
    )])
}

/// Compares once more, and stops every node as `cosync down` does.
pub(crate) async fn finish(stage: &mut Stage) -> Evidence {
    {
        let Stage { alice, bob, .. } = &*stage;
        bob.until_same_as(alice).await?;
        if stage.plants() {
            tree::flip(&bob.folder.join("README.txt"))?;
        }
    }
    let same = tree::compare(&stage.alice.folder, &stage.bob.folder).await?;
    let Reply::Conflicts { conflicts } =
        stage.bob.ask(Request::Conflicts { space: None, path: None }).await?
    else {
        return Err(Unmet("no list of conflicts".to_owned()));
    };
    check(conflicts.is_empty(), || format!("conflicts are left: {conflicts:?}"))?;
    let Stage { alice, bob, carol, lighthouse, .. } = stage;
    for actor in [carol, bob, alice, lighthouse] {
        let status = actor.stop().await?;
        check(status.success(), || format!("{}'s node ended by {status}", actor.name))?;
    }
    Ok(vec![format!(
        "{} files, {} bytes, equal on both sides; four nodes ended with exit code 0",
        same.files, same.bytes
    )])
}
