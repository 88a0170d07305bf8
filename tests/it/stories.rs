//! Stories of a few nodes, spelled out.

use cs_node::api::{Access, Reply, Request};
use cs_node::folder::RelPath;
use cs_tests::sim::{Weather, World};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(300);

pub(crate) fn share(world: &mut World, node: usize, access: Access) -> cs_node::api::Invited {
    let request = Request::Share { folder: "/photos".into(), name: None, access, expires_s: 3_600 };
    let reply = world.ask(node, request).unwrap().unwrap();
    let Reply::Invited(invited) = reply else { panic!("{reply:?}") };
    invited
}

fn path(text: &str) -> RelPath {
    RelPath::new(text.as_bytes()).unwrap()
}

#[test]
fn two_nodes_hold_the_same_folder_after_one_invitation() {
    let mut world = World::new(1, 2, Weather::default());
    world.run_for(Duration::from_secs(3)).unwrap();
    world.edit(0, "/photos", &[], |vfs| {
        vfs.put(&path("a/b.txt"), b"hello");
        vfs.put(&path("large"), &vec![7; 3_000_000]);
    });
    let invited = share(&mut world, 0, Access::Write);
    let join = Request::Join { ticket: invited.invitation, folder: Some("/mine".into()), limit_s: None };
    world.ask(1, join).unwrap().unwrap();
    world.converge(LIMIT).unwrap();
    assert_eq!(world.directory(1, "/mine").unwrap().get(&path("a/b.txt")).unwrap(), b"hello");
}
