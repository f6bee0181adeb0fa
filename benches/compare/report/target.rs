//! [`Target`]: how a figure is to compare with a peer's. A benchmark writes it as a line of Markdown, `compare` reads it.

#![allow(dead_code)] // Each program uses a part.

use std::fmt;

#[derive(Clone, Copy)]
pub(crate) enum Goal {
    AtMost(f64),
    AtLeast(f64),
}

pub(crate) struct Target {
    pub(crate) what: String,
    pub(crate) measured: f64,
    pub(crate) goal: Goal,
}

impl Target {
    /// How many times too much or too little it is: met up to 1.
    pub(crate) fn excess(&self) -> f64 {
        match self.goal {
            Goal::AtMost(bound) => self.measured / bound,
            Goal::AtLeast(bound) => bound / self.measured,
        }
    }

    /// The target that a line states, if it states one.
    pub(crate) fn read(line: &str) -> Option<Self> {
        let stated = ["- met: ", "- **missed**: "].iter().find_map(|verdict| line.strip_prefix(verdict))?;
        let (figures, bound) = stated.rsplit_once(", target at ")?;
        let (what, measured) = figures.rsplit_once(": ")?;
        let goal = match bound.split_once(' ')? {
            ("most", bound) => Goal::AtMost(bound.parse().ok()?),
            ("least", bound) => Goal::AtLeast(bound.parse().ok()?),
            _ => return None,
        };
        Some(Self { what: what.to_owned(), measured: measured.parse().ok()?, goal })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, measured, goal } = self;
        let verdict = if self.excess() <= 1.0 { "met" } else { "**missed**" };
        let (sign, bound) = match goal {
            Goal::AtMost(bound) => ("most", bound),
            Goal::AtLeast(bound) => ("least", bound),
        };
        write!(f, "- {verdict}: {what}: {measured:.2}, target at {sign} {bound}")
    }
}
