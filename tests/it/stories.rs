//! Stories of a few nodes, spelled out.

use cs_node::api::{Access, Invited, ProblemCode, Reply, Request};
use cs_node::core::Event;
use cs_node::folder::RelPath;
use cs_tests::sim::{Weather, World};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(300);
const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn path(text: &str) -> RelPath {
    RelPath::new(text.as_bytes()).unwrap()
}

pub(crate) fn put(world: &mut World, node: usize, name: &str, bytes: &[u8]) {
    world.edit(node, "/d", &[name], |vfs| assert!(vfs.put(&path(name), bytes)));
}

pub(crate) fn file(world: &World, node: usize, name: &str) -> Option<Vec<u8>> {
    world.directory(node, "/d").and_then(|vfs| vfs.get(&path(name)))
}

/// Shares the folder of a node.
fn share(world: &mut World, node: usize) -> Invited {
    let request = Request::Share { folder: "/d".into(), name: None, access: Access::Write, expires_s: 3_600 };
    let Reply::Invited(invited) = world.ask(node, request).unwrap().unwrap() else { panic!("no invitation") };
    invited
}

fn invite(world: &mut World, node: usize, access: Access) -> Invited {
    let request = Request::Invite { space: None, access, expires_s: 3_600 };
    let Reply::Invited(invited) = world.ask(node, request).unwrap().unwrap() else { panic!("no invitation") };
    invited
}

fn join(ticket: String) -> Request {
    Request::Join { ticket, folder: Some("/d".into()), limit_s: None }
}

/// A world in which node 0 shares a folder and the others have joined it with these rights; in it, all is equal.
pub(crate) fn world_of(seed: u64, accesses: &[Access]) -> (World, String) {
    let mut world = World::new(seed, accesses.len() + 1, Weather::default());
    world.run_for(3 * SECOND).unwrap();
    put(&mut world, 0, "a/first", b"hello");
    let shared = share(&mut world, 0);
    for (place, access) in accesses.iter().enumerate() {
        let invited = invite(&mut world, 0, *access);
        world.ask(place + 1, join(invited.invitation)).unwrap().unwrap();
    }
    world.converge(LIMIT).unwrap();
    world.take_events();
    (world, shared.space)
}

fn conflicts(world: &mut World, node: usize) -> Vec<cs_node::api::Conflict> {
    let request = Request::Conflicts { space: None, path: None };
    let Some(Ok(Reply::Conflicts { conflicts })) = world.ask_now(node, request) else { panic!("no answer") };
    conflicts
}

/// NODE-2, NODE-3, NODE-6.
#[test]
fn two_nodes_hold_the_same_folder_after_one_invitation() {
    let (mut world, _) = world_of(1, &[Access::Write]);
    assert_eq!(file(&world, 1, "a/first").unwrap(), b"hello");
    put(&mut world, 1, "large", &vec![7; 3_000_000]);
    world.run_for(SECOND).unwrap();
    world.converge(LIMIT).unwrap();
    assert_eq!(file(&world, 0, "large").unwrap().len(), 3_000_000);
}

#[test]
fn a_change_is_seen_by_the_other_within_two_seconds() {
    let (mut world, _) = world_of(2, &[Access::Write]);
    put(&mut world, 0, "note", b"new");
    let end = world.now() + 2 * SECOND;
    assert!(world.run_until(end, |world| file(world, 1, "note").is_some()).unwrap());
}

#[test]
fn a_concurrent_edit_is_a_conflict_on_both_sides_until_somebody_resolves_it() {
    let (mut world, _) = world_of(3, &[Access::Write]);
    world.partition(|node| node == 0);
    put(&mut world, 0, "a/first", b"mine");
    put(&mut world, 1, "a/first", b"theirs");
    world.run_for(2 * SECOND).unwrap();
    world.converge(LIMIT).unwrap();
    for node in 0..2 {
        let found = conflicts(&mut world, node);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].path.as_str(), found[0].versions.len()), ("a/first", 2));
    }
    let resolve = Request::Resolve { space: None, path: "a/first".into(), keep: "mine".into() };
    world.ask(0, resolve).unwrap().unwrap();
    world.converge(LIMIT).unwrap();
    for node in 0..2 {
        assert!(conflicts(&mut world, node).is_empty());
        assert_eq!(file(&world, node, "a/first").unwrap(), b"mine");
    }
}

/// NODE-8.
#[test]
fn what_both_sides_did_offline_is_on_both_sides_afterwards() {
    let (mut world, space) = world_of(4, &[Access::Write]);
    world.partition(|node| node == 0);
    for node in 0..2 {
        put(&mut world, node, &format!("by{node}"), format!("n{node}").as_bytes());
        assert!(world.put_key(node, &space, "doc", &format!("key{node}")));
    }
    world.run_for(120 * SECOND).unwrap();
    world.converge(LIMIT).unwrap();
    for node in 0..2 {
        assert_eq!(file(&world, node, "by0").unwrap(), b"n0");
        assert_eq!(file(&world, node, "by1").unwrap(), b"n1");
    }
}

#[test]
fn a_killed_transfer_goes_on_without_sending_again_what_was_there() {
    let (mut world, _) = world_of(5, &[Access::Write]);
    let size = 24 << 20;
    let bytes = cs_tests::sim::Chance::new(5, "large").noise(size);
    put(&mut world, 0, "large", &bytes);
    let mut received = 0;
    while received < size as u64 / 2 {
        world.run_for(SECOND / 10).unwrap();
        received = world.spaces(1)[0].bytes_received;
    }
    world.kill(1);
    world.start_after(1, SECOND);
    world.run_for(2 * SECOND).unwrap();
    world.converge(LIMIT).unwrap();
    assert_eq!(file(&world, 1, "large").unwrap(), bytes);
    let again = received + world.spaces(1)[0].bytes_received - size as u64;
    assert!(again < 9 << 20, "{again} bytes came twice: more than were on their way");
}

#[test]
fn a_reader_keeps_its_edits_to_itself() {
    let (mut world, _) = world_of(6, &[Access::Read, Access::Write]);
    world.forbid(1, b"written by a reader");
    put(&mut world, 1, "secret", b"written by a reader");
    put(&mut world, 2, "welcome", b"written by a writer");
    world.run_for(20 * SECOND).unwrap();
    world.check_authorised().unwrap();
    assert_eq!(file(&world, 1, "welcome").unwrap(), b"written by a writer");
    assert_eq!(world.spaces(1)[0].access, "read");
}

/// NODE-3.
#[test]
fn the_revoked_read_nothing_new() {
    let (mut world, space) = world_of(7, &[Access::Write, Access::Write]);
    let revoked = world.id(1).to_string();
    let request = Request::Revoke { space: None, node: revoked };
    world.ask(0, request).unwrap().unwrap();
    world.expel(&space, 1);
    world.run_for(5 * SECOND).unwrap();
    put(&mut world, 0, "later", b"not for the revoked");
    put(&mut world, 2, "later2", b"nor this");
    world.run_for(60 * SECOND).unwrap();
    world.converge(LIMIT).unwrap();
    assert_eq!(file(&world, 2, "later").unwrap(), b"not for the revoked");
    assert_eq!((file(&world, 1, "later"), file(&world, 1, "later2")), (None, None));
    let request = Request::Log { space: None, path: None, limit: 1_000 };
    let Some(Ok(Reply::Log { entries })) = world.ask_now(1, request) else { panic!("no log") };
    assert!(entries.iter().all(|entry| !entry.path.starts_with("later")));
}

#[test]
fn what_the_revoked_write_afterwards_reaches_nobody() {
    let (mut world, space) = world_of(8, &[Access::Write, Access::Write]);
    world.partition(|node| node == 1);
    let request = Request::Revoke { space: None, node: world.id(1).to_string() };
    world.ask(0, request).unwrap().unwrap();
    world.expel(&space, 1);
    world.forbid(1, b"after the revocation");
    put(&mut world, 1, "late", b"after the revocation");
    world.run_for(40 * SECOND).unwrap();
    world.heal();
    world.run_for(120 * SECOND).unwrap();
    world.converge(LIMIT).unwrap();
    assert_eq!(file(&world, 2, "late"), None);
}

#[test]
fn many_deletions_by_another_device_wait_for_a_person() {
    let (mut world, _) = world_of(9, &[Access::Write]);
    let names: Vec<String> = (0..20).map(|n| format!("f{n}")).collect();
    names.iter().for_each(|name| put(&mut world, 0, name, format!("content of {name}").as_bytes()));
    world.run_for(2 * SECOND).unwrap();
    world.converge(LIMIT).unwrap();
    for name in &names {
        world.edit(1, "/d", &[name], |vfs| vfs.remove_all(&path(name)));
    }
    world.run_for(20 * SECOND).unwrap();
    assert_eq!(world.spaces(0)[0].held_deletions, 20);
    assert!(file(&world, 0, "f7").is_some());
    let restore = Request::Deletions { space: None, accept: false };
    world.ask(0, restore).unwrap().unwrap();
    world.run_for(2 * SECOND).unwrap();
    world.converge(LIMIT).unwrap();
    assert_eq!(file(&world, 1, "f7").unwrap(), b"content of f7");
}

#[test]
fn an_inviter_that_has_moved_is_found_by_the_dht() {
    let mut world = World::new(10, 5, Weather::default());
    world.run_for(5 * SECOND).unwrap();
    put(&mut world, 1, "a", b"hello");
    let invited = share(&mut world, 1);
    world.kill(1);
    world.move_address(1);
    world.start_after(1, SECOND);
    world.run_for(10 * SECOND).unwrap();
    world.ask(4, join(invited.invitation)).unwrap().unwrap();
    world.converge(LIMIT).unwrap();
    assert_eq!(file(&world, 4, "a").unwrap(), b"hello");
}

/// NODE-7.
#[test]
fn a_short_code_is_met_in_the_dht() {
    // The joiner was never told of anybody but the bootstrap node.
    let mut world = World::new(12, 4, Weather::default());
    world.run_for(3 * SECOND).unwrap();
    put(&mut world, 2, "a", b"hello");
    let invited = share(&mut world, 2);
    world.run_for(5 * SECOND).unwrap();
    world.ask(3, join(invited.code)).unwrap().unwrap();
    world.converge(LIMIT).unwrap();
    assert_eq!(file(&world, 3, "a").unwrap(), b"hello");
}

/// NODE-7. Whenever the session ends, before the exchange, in its middle or after the welcome, another one is made.
#[test]
fn a_join_by_code_survives_the_loss_of_its_session_at_any_moment() {
    let (mut lost, mut joined) = (0, 0);
    for at in (300..600).step_by(8).map(Duration::from_millis) {
        let mut world = World::new(16, 4, Weather::default());
        world.run_for(3 * SECOND).unwrap();
        put(&mut world, 2, "a", b"hello");
        let invited = share(&mut world, 2);
        world.run_for(5 * SECOND).unwrap();
        let command = world.command(3, join(invited.code)).unwrap();
        world.run_for(at).unwrap();
        joined += usize::from(!world.spaces(3).is_empty());
        lost += usize::from(world.drop_session(2, 3));
        let answer = world.answer(3, command).unwrap();
        answer.unwrap_or_else(|problem| panic!("lost at {at:?}: {problem:?}"));
    }
    assert!(lost > 20 && (3..lost).contains(&joined), "{lost} sessions ended, {joined} after the welcome");
}

/// NODE-5. Who has just joined is asked for content too, by others that have; it must not keep them waiting.
#[test]
fn a_member_whose_folder_is_still_being_opened_says_that_it_has_nothing() {
    // In some of them the first that is asked has it.
    for seed in 30..36 {
        let mut world = World::new(seed, 3, Weather::default());
        world.run_for(3 * SECOND).unwrap();
        (0..40).for_each(|number| put(&mut world, 0, &format!("f{number}"), &[number; 100]));
        share(&mut world, 0);
        world.run_for(2 * SECOND).unwrap();
        world.slow_opening(1, 60 * SECOND);
        for node in [1, 2] {
            let invited = invite(&mut world, 0, Access::Write);
            world.command(node, join(invited.invitation)).unwrap();
            world.run_for(SECOND / 2).unwrap();
        }
        let all = |world: &World| (0..40).all(|number| file(world, 2, &format!("f{number}")).is_some());
        let end = world.now() + 8 * SECOND;
        assert!(world.run_until(end, all).unwrap(), "seed {seed}: it waits for a member that has nothing");
    }
}

/// NODE-7.
#[test]
fn a_wrong_guess_burns_a_code() {
    let mut world = World::new(13, 4, Weather::default());
    world.run_for(3 * SECOND).unwrap();
    put(&mut world, 1, "a", b"hello");
    let invited = share(&mut world, 1);
    world.run_for(5 * SECOND).unwrap();
    let last = if invited.code.ends_with('0') { "1" } else { "0" };
    let wrong = format!("{}{last}", &invited.code[..invited.code.len() - 1]);
    let refused = world.ask(2, join(wrong)).unwrap().unwrap_err();
    assert_eq!(refused.code, ProblemCode::BadInvitation);
    let refused = world.ask(3, join(invited.code)).unwrap().unwrap_err();
    assert_eq!(refused.code, ProblemCode::BadInvitation);
    let events = world.take_events();
    assert!(events.iter().any(|(_, node, event)| *node == 1 && matches!(event, Event::CodeBurned { .. })));
    assert!(world.spaces(3).is_empty());
}

/// NODE-11.
#[test]
fn a_put_on_a_full_disk_is_refused_and_one_that_was_acknowledged_survives_the_power_cut() {
    let (mut world, space) = world_of(14, &[Access::Write]);
    assert!(world.put_key(0, &space, "doc", "before"));
    world.fill_disk(0, true);
    assert!(!world.put_key(0, &space, "doc", "full"));
    world.cut_power(0);
    world.fill_disk(0, false);
    world.start_after(0, SECOND);
    world.run_for(5 * SECOND).unwrap();
    world.converge(LIMIT).unwrap();
    let get = Request::Get { space: None, path: "doc".into() };
    let Some(Ok(Reply::Document { value, .. })) = world.ask_now(1, get) else { panic!("no document") };
    assert!(value.get("before").is_some());
}

#[test]
fn a_machine_that_slept_for_an_hour_catches_up() {
    let (mut world, _) = world_of(15, &[Access::Write]);
    world.sleep(1);
    put(&mut world, 0, "news", b"of the night");
    world.run_for(3_600 * SECOND).unwrap();
    world.wake(1);
    world.converge(LIMIT).unwrap();
    assert_eq!(file(&world, 1, "news").unwrap(), b"of the night");
}

/// NODE-8.
#[test]
fn who_resumes_has_what_happened_meanwhile_at_once() {
    // Of the two, one has the lower ID and would begin anyway; the other has to begin out of its turn.
    for (node, paused) in [(0, 20), (0, 21), (0, 22), (1, 20), (1, 21), (1, 22)] {
        let (mut world, _) = world_of(16, &[Access::Write]);
        world.ask(node, Request::Pause { space: None }).unwrap().unwrap();
        put(&mut world, 1 - node, "meanwhile", b"there");
        world.run_for(paused * SECOND).unwrap();
        assert_eq!(file(&world, node, "meanwhile"), None);
        world.ask(node, Request::Resume { space: None }).unwrap().unwrap();
        let end = world.now() + SECOND;
        let is_there = world.run_until(end, |world| file(world, node, "meanwhile").is_some());
        assert!(is_there.unwrap(), "node {node} after {paused} s");
    }
}

/// NODE-2. What was asked of a space that is paused before it answers was waited for, up to 30 s after it was taken up again.
#[test]
fn a_pause_in_the_middle_of_a_catch_up_costs_no_time_once_it_is_over() {
    for (node, after_ms) in (0..2).flat_map(|node| (0..12).map(move |step| (node, 40 + 20 * step))) {
        let (mut world, _) = world_of(18, &[Access::Write]);
        for (at, name) in [(0, "mine"), (1, "yours")] {
            world.ask(at, Request::Pause { space: None }).unwrap().unwrap();
            put(&mut world, at, name, b"there");
        }
        world.run_for(SECOND).unwrap();
        for at in 0..2 {
            world.ask(at, Request::Resume { space: None }).unwrap().unwrap();
        }
        world.run_for(after_ms * SECOND / 1_000).unwrap();
        world.ask(node, Request::Pause { space: None }).unwrap().unwrap();
        world.run_for(SECOND).unwrap();
        world.ask(node, Request::Resume { space: None }).unwrap().unwrap();
        let end = world.now() + 2 * SECOND;
        let both = |world: &World| file(world, 0, "yours").is_some() && file(world, 1, "mine").is_some();
        assert!(world.run_until(end, both).unwrap(), "node {node}, {after_ms} ms after both began");
    }
}

/// NODE-5. More files than may be under way lack their content, and still hold nobody up.
#[test]
fn files_whose_only_source_is_gone_hold_up_no_others() {
    const FILES: usize = 1_500;
    const MAX_APPLYING: usize = 1_024;
    let (mut world, _) = world_of(17, &[Access::Write, Access::Write]);
    let names: Vec<String> = (0..FILES).map(|n| format!("gone{n}")).collect();
    let paths: Vec<&str> = names.iter().map(String::as_str).collect();
    world.edit(1, "/d", &paths, |vfs| {
        for name in &names {
            let bytes = cs_tests::sim::Chance::new(17, name).noise(20_000);
            assert!(vfs.put(&path(name), &bytes));
        }
    });
    while (0..3).any(|node| world.spaces(node)[0].operations <= FILES as u64) {
        world.run_for(SECOND / 50).unwrap();
    }
    world.kill(1);
    let is_nowhere = |name: &&String| [0, 2].iter().all(|node| file(&world, *node, name).is_none());
    let lost = names.iter().filter(is_nowhere).count();
    assert!(lost > MAX_APPLYING, "only {lost} files are on the killed node alone");
    put(&mut world, 0, "news", b"from another device");
    let end = world.now() + 90 * SECOND;
    assert!(world.run_until(end, |world| file(world, 2, "news").is_some()).unwrap());
    world.start_after(1, SECOND);
    world.run_for(2 * SECOND).unwrap();
    world.converge(LIMIT).unwrap();
}

/// NODE-6, NODE-7. Asking again is for an answer that was lost, not for a right that was taken away.
#[test]
fn a_revoked_device_is_not_admitted_by_what_it_redeemed_before() {
    let mut world = World::new(17, 2, Weather::default());
    world.run_for(3 * SECOND).unwrap();
    put(&mut world, 0, "a", b"hello");
    let invited = share(&mut world, 0);
    world.ask(1, join(invited.invitation.clone())).unwrap().unwrap();
    world.converge(LIMIT).unwrap();
    let node = world.id(1).to_string();
    world.ask(0, Request::Revoke { space: None, node }).unwrap().unwrap();
    world.run_for(5 * SECOND).unwrap();
    let elsewhere = Request::Join { ticket: invited.invitation, folder: Some("/e".into()), limit_s: None };
    let refused = world.ask(1, elsewhere).unwrap();
    assert_eq!(refused.unwrap_err().code, ProblemCode::BadInvitation);
}

#[test]
fn a_node_that_is_told_to_stop_does_so_within_a_second_whoever_does_not_answer() {
    let mut took_all_of_it = false;
    for cut_after_ms in [0, 20, 40, 80, 160, 320] {
        let (mut world, _) = world_of(40, &[Access::Write, Access::Write]);
        let begun_at = world.now();
        world.command(0, Request::Stop).unwrap();
        world.run_until(begun_at + Duration::from_millis(cut_after_ms), |world| !world.is_up(0)).unwrap();
        world.partition(|node| node == 0);
        let end = begun_at + 2 * SECOND;
        assert!(world.run_until(end, |world| !world.is_up(0)).unwrap(), "cut after {cut_after_ms} ms");
        let took = world.now() - begun_at;
        assert!(took <= SECOND + Duration::from_millis(10), "cut after {cut_after_ms} ms: {took:?}");
        took_all_of_it |= took >= SECOND;
    }
    assert!(took_all_of_it, "nobody was waited for");
}
