//! The picture of the layers, as data, and every edge between crates held to it.

use crate::report::{Finding, Findings};
use crate::workspace::{DependencyKind, Package};

/// Each crate and the workspace crates it may depend on, dev-dependencies included. Lowest first; it is the picture in the
/// root README. What is not here is not allowed.
const LAYERS: &[(&str, &[&str])] = &[
    ("cs-identity", &[]),
    ("cs-crypto", &[]),
    ("cs-transport", &["cs-identity", "cs-crypto"]),
    ("cs-dht", &["cs-identity"]),
    ("cs-gossip", &["cs-identity"]),
    ("cs-crdt", &[]),
    ("cs-store", &["cs-identity", "cs-crypto", "cs-crdt"]),
    ("cs-erasure", &[]),
    ("cs-shard", &["cs-identity"]),
    ("cs-node", &BELOW_NODE),
];

const BELOW_NODE: [&str; 9] = [
    "cs-identity",
    "cs-crypto",
    "cs-transport",
    "cs-dht",
    "cs-gossip",
    "cs-crdt",
    "cs-store",
    "cs-erasure",
    "cs-shard",
];

/// Packages beside the layers: they may depend on every crate, and no crate on them.
const BESIDE: &[&str] = &["cs-tests", "xtask"];

/// Holds every edge between workspace crates to the picture.
pub(crate) fn check(packages: &[Package]) -> Findings {
    let mut findings = Findings::default();
    for package in packages.iter().filter(|package| !BESIDE.contains(&package.name.as_str())) {
        let manifest = format!("crates/{}/Cargo.toml", package.name);
        let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == package.name) else {
            findings.all.push(Finding::refused(
                &manifest,
                0,
                "this crate is not in the picture of the layers",
            ));
            continue;
        };
        for dependency in &package.dependencies {
            let is_member = packages.iter().any(|other| other.name == dependency.name);
            let is_layer = LAYERS.iter().any(|(name, _)| *name == dependency.name);
            if !is_member && !is_layer {
                continue;
            }
            findings.checked += 1;
            if !allowed.contains(&dependency.name.as_str()) {
                findings.all.push(Finding::refused(
                    &manifest,
                    0,
                    format!(
                        "{} may not depend on {}{}",
                        package.name,
                        dependency.name,
                        table_of(dependency.kind)
                    ),
                ));
            }
        }
    }
    findings
}

fn table_of(kind: DependencyKind) -> &'static str {
    match kind {
        DependencyKind::Normal => "",
        DependencyKind::Dev => ", in tests either",
        DependencyKind::Build => ", at build time either",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Dependency;

    fn package(name: &str, dependencies: &[(&str, DependencyKind)]) -> Package {
        let dependencies =
            dependencies.iter().map(|&(name, kind)| Dependency { name: name.to_owned(), kind }).collect();
        Package { name: name.to_owned(), dependencies, ..Package::default() }
    }

    fn refusals(packages: &[Package]) -> Vec<String> {
        check(packages).all.into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn the_picture_is_ordered_lowest_first_and_complete() {
        for (place, (name, allowed)) in LAYERS.iter().enumerate() {
            for below in *allowed {
                assert!(LAYERS[..place].iter().any(|(other, _)| other == below), "{name} -> {below}");
            }
        }
    }

    #[test]
    fn an_edge_of_the_picture_is_allowed_and_counted() {
        let packages =
            [package("cs-dht", &[("cs-identity", DependencyKind::Normal)]), package("cs-identity", &[])];
        let findings = check(&packages);
        assert_eq!((findings.checked, findings.refused()), (1, 0));
    }

    #[test]
    fn an_edge_beside_the_picture_is_refused() {
        let packages =
            [package("cs-dht", &[("cs-transport", DependencyKind::Normal)]), package("cs-transport", &[])];
        assert_eq!(refusals(&packages), ["cs-dht may not depend on cs-transport"]);
    }

    #[test]
    fn a_dev_dependency_is_an_edge_too() {
        let packages =
            [package("cs-crdt", &[("cs-identity", DependencyKind::Dev)]), package("cs-identity", &[])];
        assert_eq!(refusals(&packages), ["cs-crdt may not depend on cs-identity, in tests either"]);
    }

    #[test]
    fn no_crate_depends_on_the_tests_and_the_tests_on_anything() {
        let edge = |name| (name, DependencyKind::Normal);
        let packages = [package("cs-tests", &[edge("cs-node")]), package("cs-node", &[edge("cs-tests")])];
        assert_eq!(refusals(&packages), ["cs-node may not depend on cs-tests"]);
    }

    #[test]
    fn a_crate_that_nobody_drew_is_refused() {
        assert_eq!(refusals(&[package("cs-extra", &[])]), ["this crate is not in the picture of the layers"]);
    }

    #[test]
    fn a_published_crate_of_the_same_name_is_no_way_around() {
        assert_eq!(
            refusals(&[package("cs-gossip", &[("cs-crypto", DependencyKind::Build)])]),
            ["cs-gossip may not depend on cs-crypto, at build time either"]
        );
    }
}
