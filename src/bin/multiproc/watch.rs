//! Looking again and again.

use std::io::{IsTerminal, Write};
use std::time::Instant;

use multiproc::inspect::SegmentView;

use super::args::Watch;
use super::holder::{Held, Key};
use super::{Failure, listing, look};

/// Home, and erase what is behind it.
const CLEAR: &str = "\x1b[H\x1b[J";

/// Shows a segment, or those of a process, again and again. SIGINT ends the process, which has nothing to put in order.
pub(crate) fn watch(watch: &Watch, out: &mut dyn Write) -> Result<(), Failure> {
    let redraws = std::io::stdout().is_terminal() && !watch.json;
    let mut held = Held::default();
    let mut looks = 0;
    let mut next = Instant::now();
    loop {
        let views = look(&watch.target)?;
        held.note(views.iter().flat_map(holders), Instant::now());
        if redraws {
            write!(out, "{CLEAR}")?;
        }
        listing::write_views(out, &views, &held, watch.json)?;
        if !watch.json && !redraws {
            writeln!(out)?;
        }
        out.flush()?;
        looks += 1;
        if watch.count.is_some_and(|count| looks >= count) {
            return Ok(());
        }
        next += watch.interval;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

/// The leases of a segment that somebody holds.
fn holders(view: &SegmentView) -> Vec<(Key, u32)> {
    listing::leases(view).filter_map(|(key, _, lease)| Some((key, lease.holder?))).collect()
}
