//! [`Trace`]: all kill points of an operation, in their order.

use std::collections::HashMap;

use crate::tracer::{Operation, Point, Run};

/// Recordings until one has been made twice. They differ when one of them adds to a time at the end of a second.
const RECORDINGS: usize = 10;

/// A breakpoint may be so many single steps before its goal.
const STEPS: usize = 100;

/// The longest turn of a spin.
const LONGEST_TURN: usize = 400;

/// What a run of an operation goes through.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Trace {
    pub(crate) points: Vec<Point>,
    /// How often each point has occurred up to here, since the beginning or the instruction after the last sleep.
    pub(crate) nth: Vec<usize>,
}

impl Trace {
    /// The first trace that two runs had.
    pub(crate) fn record_twice<O: Operation>(operation: &O) -> Result<Trace, String> {
        let mut seen = Vec::new();
        for _ in 0..RECORDINGS {
            let points = record(operation)?;
            if seen.contains(&points) {
                return Ok(Trace::of(points));
            }
            seen.push(points);
        }
        Err(format!("hollow: no two of {RECORDINGS} runs make the same steps"))
    }

    /// What a run went through.
    pub(crate) fn of(points: Vec<Point>) -> Trace {
        let nth = count(&points);
        Trace { points, nth }
    }

    /// Where a breakpoint and then single steps lead to point `goal` with the fewest stops.
    pub(crate) fn breakpoint(&self, goal: usize) -> usize {
        let sleep = |index: &usize| matches!(self.points[*index], Point::Before(_)) && self.nth[*index] > 0;
        let near = (goal.saturating_sub(STEPS)..=goal).rev().take_while(sleep);
        near.min_by_key(|index| 3 * self.nth[*index] + goal - index).unwrap_or(goal)
    }

    /// Which points lie in a turn of a spin that is neither among its first nor its last `turns`.
    pub(crate) fn left_out(&self, turns: usize) -> Vec<bool> {
        let mut left_out = vec![false; self.points.len()];
        let least = turns.saturating_mul(2).saturating_add(1);
        let mut at = 0;
        while at < self.points.len() {
            match self.spin(at).filter(|(_, count)| *count >= least) {
                Some((length, count)) => {
                    left_out[at + turns * length..at + (count - turns) * length].fill(true);
                    at += count * length;
                }
                None => at += 1,
            }
        }
        left_out
    }

    /// The length and number of the equal turns that begin at point `at`, if there are two at least.
    fn spin(&self, at: usize) -> Option<(usize, usize)> {
        let rest = &self.points[at..];
        let again = (1..LONGEST_TURN.min(rest.len())).filter(|length| rest[*length] == rest[0]);
        let turns =
            |length: usize| 1 + rest[length..].iter().zip(rest).take_while(|(a, b)| a == b).count() / length;
        again.map(|length| (length, turns(length))).find(|(_, turns)| *turns > 1)
    }
}

/// All kill points of one run.
fn record<O: Operation>(operation: &O) -> Result<Vec<Point>, String> {
    let mut points = Vec::new();
    let mut run = Run::begin(operation)?;
    loop {
        points.push(run.point()?);
        if !run.step()? {
            return Ok(points);
        }
    }
}

/// The numbers for [`Trace::nth`]: 0 where a run comes by a single step.
fn count(points: &[Point]) -> Vec<usize> {
    let mut counts = HashMap::<Point, usize>::new();
    let mut by_step = true;
    let mut nth = Vec::new();
    for point in points {
        let asleep = matches!(point, Point::Asleep(_));
        if asleep || by_step {
            counts.clear();
            nth.push(0);
        } else {
            let count = counts.entry(*point).or_default();
            *count += 1;
            nth.push(*count);
        }
        by_step = asleep;
    }
    nth
}
