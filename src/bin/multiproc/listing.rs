//! Segments, objects, leases and queues, as tables and as JSON.

use std::io::{self, Write};
use std::time::Duration;

use multiproc::SegmentInfo;
use multiproc::inspect::{LeaseInfo, ObjectView, SegmentView};
use serde_json::{Value, json};

use super::holder::{Held, Key, Thread};
use super::table::Table;

/// The named segments.
pub(crate) fn write_segments(out: &mut dyn Write, segments: &[SegmentInfo], json: bool) -> io::Result<()> {
    if json {
        let segment = |segment: &SegmentInfo| {
            let SegmentInfo { name, size, creator, in_use, .. } = segment;
            json!({ "name": name, "size": size, "creator": creator, "in_use": in_use })
        };
        return writeln!(out, "{}", segments.iter().map(segment).collect::<Value>());
    }
    if segments.is_empty() {
        return writeln!(out, "no named segments");
    }
    let mut table = Table::new(&["SEGMENT", "BYTES", "CREATOR", "USED", "COMMAND"], &["BYTES", "CREATOR"]);
    for segment in segments {
        let command = segment.creator.and_then(Thread::find).map_or("-".to_owned(), |thread| thread.command);
        table.row(vec![
            segment.name.clone(),
            segment.size.to_string(),
            segment.creator.map_or("unknown".to_owned(), |pid| pid.to_string()),
            if segment.in_use { "yes" } else { "no" }.to_owned(),
            command,
        ]);
    }
    table.write(out)
}

/// Names that were removed, or would be.
pub(crate) fn write_stale(
    out: &mut dyn Write,
    names: &[String],
    dry_run: bool,
    json: bool,
) -> io::Result<()> {
    let what = if dry_run { "stale" } else { "removed" };
    if json {
        return writeln!(out, "{}", json!({ what: names }));
    }
    if names.is_empty() {
        return writeln!(out, "no stale segments");
    }
    names.iter().try_for_each(|name| writeln!(out, "{what}: {}", name.escape_debug()))
}

/// What is in segments.
pub(crate) fn write_views(
    out: &mut dyn Write,
    views: &[SegmentView],
    held: &Held,
    json: bool,
) -> io::Result<()> {
    if json {
        let views: Value = views.iter().map(|view| segment_as_json(view, held)).collect();
        return writeln!(out, "{views}");
    }
    if views.is_empty() {
        return writeln!(out, "no segments");
    }
    for (index, view) in views.iter().enumerate() {
        if index > 0 {
            writeln!(out)?;
        }
        write_view(out, view, held)?;
    }
    Ok(())
}

/// The leases of a segment that are not free: each with the name of its object, if it is not the segment's own.
pub(crate) fn leases(view: &SegmentView) -> impl Iterator<Item = (Key, String, &LeaseInfo)> {
    let own = view.leases.iter().map(|lease| (0, "(segment)".to_owned(), lease));
    let of_objects = view
        .objects
        .iter()
        .flat_map(|object| object.leases.iter().map(|lease| (object.offset, name_of(object), lease)));
    own.chain(of_objects)
        .map(|(offset, name, lease)| ((view.key, offset, lease.role, lease.index), name, lease))
}

fn write_view(out: &mut dyn Write, view: &SegmentView, held: &Held) -> io::Result<()> {
    let name = view.name.as_deref().map_or("(anonymous)".to_owned(), |name| name.escape_debug().to_string());
    let SegmentView { size, reserved, creator, .. } = view;
    writeln!(out, "{name}: {size} bytes, {reserved} of them in memory; made by process {creator}")?;
    if view.objects.is_empty() {
        writeln!(out, "no objects")?;
    } else {
        write_objects(out, view)?;
    }
    write_leases(out, view, held)?;
    write_queues(out, view)
}

fn write_objects(out: &mut dyn Write, view: &SegmentView) -> io::Result<()> {
    let numbers = &["LENGTH", "BYTES"];
    let mut table = Table::new(&["OBJECT", "KIND", "TYPE", "LENGTH", "BYTES", "STATE"], numbers);
    for object in &view.objects {
        let counts = object.counts.iter().map(|(name, count)| format!("{name} {count}"));
        let state = match &object.damage {
            Some(damage) => format!("unreadable: {damage}"),
            None => counts.collect::<Vec<_>>().join(", "),
        };
        let element = &object.info.element;
        table.row(vec![
            name_of(object),
            object.info.kind.clone(),
            if element.is_empty() { "-" } else { element }.to_owned(),
            object.info.length.to_string(),
            object.bytes.to_string(),
            state,
        ]);
    }
    writeln!(out)?;
    table.write(out)
}

fn write_leases(out: &mut dyn Write, view: &SegmentView, held: &Held) -> io::Result<()> {
    let heading = ["OBJECT", "LEASE", "HOLDER", "THREAD", "PID", "NAME", "HELD FOR", "AWAITED", "COMMAND"];
    let mut table = Table::new(&heading, &["THREAD", "PID"]);
    let mut is_empty = true;
    for (key, object, lease) in leases(view) {
        is_empty = false;
        let holder = Holder::of(&key, lease, held);
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let thread = holder.thread.as_ref();
        table.row(vec![
            object,
            role_of(lease),
            holder.state.to_owned(),
            or_none(lease.holder.map(|tid| tid.to_string())),
            or_none(thread.map(|thread| thread.pid.to_string())),
            or_none(thread.map(|thread| thread.name.clone())),
            holder.span(),
            if lease.awaited { "maybe" } else { "no" }.to_owned(),
            or_none(thread.map(|thread| thread.command.clone())),
        ]);
    }
    if is_empty {
        return writeln!(out, "\nno lease is held");
    }
    writeln!(out)?;
    table.write(out)
}

fn write_queues(out: &mut dyn Write, view: &SegmentView) -> io::Result<()> {
    let heading = [
        "QUEUE",
        "ITEMS",
        "OF",
        "PUTS",
        "GETS",
        "TAKEN",
        "ORPHANED",
        "DEAD",
        "REDELIVERED",
        "BYTES",
        "WAITING",
        "OPEN",
    ];
    let numbers = &["ITEMS", "OF", "PUTS", "GETS", "TAKEN", "ORPHANED", "DEAD", "REDELIVERED", "BYTES"];
    let mut table = Table::new(&heading, numbers);
    let mut is_empty = true;
    for object in &view.objects {
        let Some(queue) = &object.queue else { continue };
        is_empty = false;
        let stats = &queue.stats;
        let waiting = match (stats.producers_wait, stats.consumers_wait) {
            (false, false) => "-",
            (true, false) => "producers",
            (false, true) => "consumers",
            (true, true) => "both",
        };
        table.row(vec![
            name_of(object),
            stats.items.to_string(),
            queue.max_items.map_or("any".to_owned(), |most| most.to_string()),
            stats.puts.to_string(),
            stats.gets.to_string(),
            queue.taken.to_string(),
            queue.orphaned.to_string(),
            queue.dead_letters.to_string(),
            stats.redeliveries.to_string(),
            stats.bytes.to_string(),
            waiting.to_owned(),
            if queue.is_shut_down { "no" } else { "yes" }.to_owned(),
        ]);
    }
    if is_empty {
        return Ok(());
    }
    writeln!(out)?;
    table.write(out)
}

/// Who holds a lease, as far as that can be known.
struct Holder {
    /// `alive`; `dead`, which nobody has told the lease: the next who waits for it finds out; or `died`, and it is free.
    state: &'static str,
    thread: Option<Thread>,
    seen_for: Option<Duration>,
}

impl Holder {
    fn of(key: &Key, lease: &LeaseInfo, held: &Held) -> Self {
        let thread = lease.holder.and_then(Thread::find);
        let state = match (lease.holder, &thread) {
            (None, _) => "died",
            (Some(_), None) => "dead",
            (Some(_), Some(_)) => "alive",
        };
        let seen_for = lease.holder.and_then(|tid| held.seen_for(key, tid));
        Self { state, thread, seen_for }
    }

    fn span(&self) -> String {
        let age = self.thread.as_ref().map(|thread| thread.age.as_secs_f64());
        match (self.seen_for, age) {
            (None, None) => "-".to_owned(),
            (Some(seen), None) => format!("seen {:.1} s", seen.as_secs_f64()),
            (None, Some(age)) => format!("at most {age:.1} s"),
            (Some(seen), Some(age)) => format!("seen {:.1} s, at most {age:.1} s", seen.as_secs_f64()),
        }
    }
}

fn name_of(object: &ObjectView) -> String {
    if object.info.name.is_empty() { format!("@{}", object.offset) } else { object.info.name.clone() }
}

fn role_of(lease: &LeaseInfo) -> String {
    let has_several = matches!(lease.role, "permit" | "task" | "waiter" | "party");
    if has_several { format!("{} {}", lease.role, lease.index) } else { lease.role.to_owned() }
}

fn segment_as_json(view: &SegmentView, held: &Held) -> Value {
    let objects: Value = view.objects.iter().map(object_as_json).collect();
    let leases: Value = leases(view).map(|(key, _, lease)| lease_as_json(&key, lease, held)).collect();
    json!({
        "name": view.name,
        "device": view.key.0,
        "inode": view.key.1,
        "size": view.size,
        "reserved": view.reserved,
        "creator": view.creator,
        "objects": objects,
        "leases": leases,
    })
}

fn object_as_json(object: &ObjectView) -> Value {
    let counts: serde_json::Map<_, _> =
        object.counts.iter().map(|&(name, count)| (name.to_owned(), count.into())).collect();
    let queue = object.queue.as_ref().map(|queue| {
        json!({
            "items": queue.stats.items,
            "max_items": queue.max_items,
            "puts": queue.stats.puts,
            "gets": queue.stats.gets,
            "taken": queue.taken,
            "orphaned": queue.orphaned,
            "dead_letters": queue.dead_letters,
            "redeliveries": queue.stats.redeliveries,
            "bytes": queue.stats.bytes,
            "producers_wait": queue.stats.producers_wait,
            "consumers_wait": queue.stats.consumers_wait,
            "is_shut_down": queue.is_shut_down,
        })
    });
    json!({
        "name": object.info.name,
        "offset": object.offset,
        "kind": object.info.kind,
        "type": object.info.element,
        "length": object.info.length,
        "bytes": object.bytes,
        "counts": counts,
        "queue": queue,
        "damage": object.damage,
    })
}

/// Times in seconds; `null` for what isn't known.
fn lease_as_json(key: &Key, lease: &LeaseInfo, held: &Held) -> Value {
    let holder = Holder::of(key, lease, held);
    let thread = holder.thread.as_ref();
    json!({
        "offset": key.1,
        "role": lease.role,
        "index": lease.index,
        "holder": holder.state,
        "thread": lease.holder,
        "pid": thread.map(|thread| thread.pid),
        "thread_name": thread.map(|thread| &thread.name),
        "command": thread.map(|thread| &thread.command),
        "seen_held_for": holder.seen_for.map(|seen| seen.as_secs_f64()),
        "held_at_most": thread.map(|thread| thread.age.as_secs_f64()),
        "awaited": lease.awaited,
    })
}
