use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use super::attestation::Level;
use super::petname::Petnames;
use crate::id::OpId;
use crate::node_id::NodeId;

/// Why a key is trusted, or why not.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Explanation {
    /// The user trusts it without anybody's word.
    Root,
    /// Trust flows to it along these attestations, the first of them a root's.
    Flow {
        /// At least one.
        steps: Vec<Step>,
    },
    /// These introduce it: one fully, or several marginally.
    Introducers {
        /// At least one.
        by: Vec<Step>,
        /// Steps from a root.
        depth: u8,
    },
    /// It is not trusted.
    Not(NotTrusted),
}

/// Why a key is not trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotTrusted {
    /// The user blocked it.
    Blocked,
    /// It handed over to another key, or two people have it.
    SpeaksForNobody,
    /// Nobody known attests it.
    Unattested,
    /// Only keys attest it that are not trusted themselves.
    OutOfReach {
        /// How many.
        attested_by: usize,
    },
    /// Trusted people attest it, and others have used up the trust that passes through them.
    NoneLeft {
        /// How many of them are trusted.
        attested_by: usize,
    },
    /// Trusted people attest it, but too few, too weakly or too far from a root.
    TooFew {
        /// How many of them are trusted.
        attested_by: usize,
    },
}

/// One attestation on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Who attests.
    pub issuer: NodeId,
    /// Whom.
    pub subject: NodeId,
    /// The signed attestation.
    pub attestation: OpId,
    /// How firmly.
    pub level: Level,
    /// What the issuer calls the subject.
    pub name: Option<String>,
}

impl Explanation {
    /// Whether the key is trusted.
    pub const fn is_trusted(&self) -> bool {
        !matches!(self, Self::Not(_))
    }

    /// The explanation in words, with the user's own names for those who have one.
    pub fn tell<'a>(&'a self, names: &'a Petnames) -> impl fmt::Display + 'a {
        Told { explanation: self, names }
    }
}

struct Told<'a> {
    explanation: &'a Explanation,
    names: &'a Petnames,
}

impl Told<'_> {
    fn name(&self, key: &NodeId) -> String {
        self.names.name(key).map_or_else(|| key.short().to_string(), ToString::to_string)
    }

    /// A suggested name is shown as such, beside what the user calls the key or the key itself.
    fn subject(&self, step: &Step) -> String {
        let own = self.name(&step.subject);
        match &step.name {
            Some(name) if self.names.name(&step.subject) != Some(name) => {
                alloc::format!("{own} (whom they call \u{201c}{name}\u{201d})")
            }
            _ => own,
        }
    }
}

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.explanation {
            Explanation::Root => f.write_str("trusted because you said so"),
            Explanation::Flow { steps } => {
                let first = steps.first().map(|step| self.name(&step.issuer)).unwrap_or_default();
                write!(f, "trusted because you trust {first}")?;
                steps
                    .iter()
                    .try_for_each(|step| write!(f, ", who attests {} ({})", self.subject(step), step.level))
            }
            Explanation::Introducers { by, depth } => {
                f.write_str("trusted because it is attested by ")?;
                for (n, step) in by.iter().enumerate() {
                    let comma = if n == 0 { "" } else { ", " };
                    write!(f, "{comma}{} ({})", self.name(&step.issuer), step.level)?;
                }
                write!(f, ", {depth} {} from you", if *depth == 1 { "step" } else { "steps" })
            }
            Explanation::Not(why) => write!(f, "not trusted: {why}"),
        }
    }
}

impl fmt::Display for NotTrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blocked => f.write_str("you blocked it"),
            Self::SpeaksForNobody => f.write_str("its owner uses another key now, or two claim it"),
            Self::Unattested => f.write_str("nobody you know of attests it"),
            Self::OutOfReach { attested_by } => {
                write!(f, "attested only by keys that are not trusted ({attested_by})")
            }
            Self::NoneLeft { attested_by } => write!(
                f,
                "attested by {attested_by} whom you trust, but others have used up the trust that passes through them"
            ),
            Self::TooFew { attested_by } => {
                write!(
                    f,
                    "attested by {attested_by} whom you trust, but too few, too weakly or too far from you"
                )
            }
        }
    }
}
