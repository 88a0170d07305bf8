//! A space from its founding to a revocation, and what each kind of proof weighs.
//!
//! Run with `cargo run -p cs-identity --example space`.

use std::error::Error;

use cs_identity::control::{Action, ControlGraph, DataFrontier, Draft, Mark, OpFacts, Statement};
use cs_identity::{Area, BlindPath, NodeId, OpId, Rights, SecretKey, SpaceId, Tag};

fn main() -> Result<(), Box<dyn Error>> {
    // Keys come from the operating system's entropy in earnest.
    let [owner, editor, guest] = [1, 2, 3].map(|n| SecretKey::from_bytes([n; 32]));
    let genesis = Statement::sign(&owner, Draft::genesis([0; 16], 1_000))?;
    let mut graph = ControlGraph::new(genesis.space());
    println!("space {} founded in {} bytes", SpaceId::from(genesis.id()), genesis.bytes().len());
    graph.insert(genesis)?;

    let notes = BlindPath::new(vec![Tag::from_bytes([7; 16])])?;
    let to_editor = grant(&mut graph, &owner, None, editor.node_id(), &notes, Rights::ALL, 1)?;
    let to_guest = grant(
        &mut graph,
        &editor,
        Some(to_editor),
        guest.node_id(),
        &notes,
        Rights::READ | Rights::WRITE,
        0,
    )?;
    let chain: usize =
        graph.credentials(&guest.node_id()).iter().map(|statement| statement.bytes().len()).sum();
    println!("the guest may {} on a chain of {chain} bytes", graph.rights(&guest.node_id(), &notes, 2_000));

    let wider =
        grant(&mut graph, &editor, Some(to_editor), guest.node_id(), &BlindPath::root(), Rights::ALL, 0);
    println!("the editor gives away more than it has: {}", wider.unwrap_err());

    let first = write(&graph, &guest, to_guest, &notes, None);
    let second = write(&graph, &guest, to_guest, &notes, Some(&first));
    let kept = DataFrontier::Listed(vec![(first.document, Mark { seq: first.seq, id: first.id })]);
    let frontier = vec![(guest.node_id(), graph.frontier_of(&guest.node_id(), kept))];
    let cut = Action::Cut { grant: to_guest, frontier, cascade: false };
    let cut = Statement::sign(&owner, graph.next_draft(owner.node_id(), cut, 3_000))?;
    println!("the owner cuts the guest off in {} bytes", cut.bytes().len());
    graph.insert(cut)?;
    println!(
        "the guest's first operation is {:?}, its second {:?}",
        graph.verdict(&first),
        graph.verdict(&second)
    );
    println!("the guest may {} now", graph.rights(&guest.node_id(), &notes, 3_000));
    Ok(())
}

fn grant(
    graph: &mut ControlGraph,
    from: &SecretKey,
    parent: Option<OpId>,
    holder: NodeId,
    prefix: &BlindPath,
    rights: Rights,
    depth: u8,
) -> Result<OpId, Box<dyn Error>> {
    let action = Action::Grant { parent, holder, area: Area::under(prefix.clone()), rights, depth };
    let statement = Statement::sign(from, graph.next_draft(from.node_id(), action, 2_000))?;
    let id = statement.id();
    graph.insert(statement)?;
    Ok(id)
}

/// The facts of an operation; in earnest the store takes them from a signed envelope.
fn write(
    graph: &ControlGraph,
    author: &SecretKey,
    grant: OpId,
    path: &BlindPath,
    previous: Option<&OpFacts>,
) -> OpFacts {
    let seq = previous.map_or(0, |previous| previous.seq + 1);
    OpFacts {
        id: OpId::of(&[seq as u8]),
        author: author.node_id(),
        document: [9; 16],
        seq,
        backlink: previous.map(|previous| previous.id),
        path: path.clone(),
        unix_ms: 2_500,
        grant,
        heads: graph.heads(),
    }
}
