//! Which pictures there are, and which tables they show. Those whose tables are not there yet are left out.

use crate::chart::{Chart, Series};
use crate::tables::{Table, Tables, number};

/// Files and their contents.
pub(crate) fn all(tables: &Tables) -> Vec<(&'static str, String)> {
    let plots = [
        ("latency.svg", latency(tables).map(|chart| chart.lines())),
        ("throughput.svg", throughput(tables).map(|chart| chart.lines())),
        ("topology.svg", topology(tables).map(|chart| chart.bars())),
        ("locks.svg", locks(tables).map(|chart| chart.bars())),
        ("start.svg", start(tables).map(|chart| chart.bars())),
        ("pool.svg", pool(tables).map(|chart| chart.bars())),
        ("processes.svg", processes(tables).map(|chart| chart.lines())),
    ];
    plots.into_iter().filter_map(|(file, plot)| Some((file, plot?))).collect()
}

fn latency(tables: &Tables) -> Option<Chart> {
    let table = tables.get("QUEUE.md", "Latency by size")?;
    Some(Chart {
        title: "One way between two processes, by size",
        unit: "microseconds, both ends awake; less is better",
        labels: table.heads().into_iter().map(str::to_owned).collect(),
        series: table
            .rows()
            .map(|(name, cells)| series(name, cells.into_iter().map(number).collect()))
            .collect(),
        is_logarithmic: true,
    })
}

fn throughput(tables: &Tables) -> Option<Chart> {
    let sizes = ["8 B", "64 B", "1 KiB", "64 KiB", "1 MiB"];
    Some(Chart {
        title: "One producer, one consumer, by size",
        unit: "messages a second; more is better",
        labels: sizes.map(str::to_owned).into(),
        series: first_columns(tables, "QUEUE.md", &sizes, |_| true)?,
        is_logarithmic: true,
    })
}

fn topology(tables: &Tables) -> Option<Chart> {
    let titles = ["8 B", "8 B, two to two", "8 B, one to three"];
    let crowd = tables.get("QUEUE.md", titles[1])?;
    let is_there = |name: &str| crowd.rows().any(|(other, _)| other == name);
    Some(Chart {
        title: "Messages of 8 bytes, by producers and consumers, on two cores",
        unit: "messages a second; more is better",
        labels: ["one to one", "two to two", "one to three"].map(str::to_owned).into(),
        series: first_columns(tables, "QUEUE.md", &titles, is_there)?,
        is_logarithmic: true,
    })
}

fn locks(tables: &Tables) -> Option<Chart> {
    let mixes = ["2 / 10 steps", "2.5 / 2.5 us", "5 / 0 us", "25 / 25 us"];
    let robust = mixes.map(|mix| {
        let table = tables.get("LOCKS.md", mix)?;
        let column = table.heads().iter().position(|head| *head == "/ pthread robust")?;
        Some((table, column))
    });
    let robust: Vec<_> = robust.into_iter().collect::<Option<_>>()?;
    let names = robust.first()?.0.rows().map(|(name, _)| name);
    let value = |table: &Table, column: usize, name: &str| {
        table.rows().find(|(other, _)| *other == name).and_then(|(_, cells)| number(cells.get(column)?))
    };
    let values =
        |name: &str| robust.iter().map(|(table, column)| value(table, *column, name)).collect::<Vec<_>>();
    Some(Chart {
        title: "A lock that two processes want, by work with it / without it",
        unit: "operations, in multiples of a robust pthread mutex; more is better",
        labels: mixes.map(str::to_owned).into(),
        series: names.map(|name| series(name, values(name))).collect(),
        is_logarithmic: false,
    })
}

fn start(tables: &Tables) -> Option<Chart> {
    let titles = ["Start and join of an empty function", "From a program that uses 1024 MiB"];
    Some(Chart {
        title: "Start and end of a process",
        unit: "microseconds; less is better",
        labels: titles.map(str::to_owned).into(),
        series: first_columns(tables, "STARTUP.md", &titles, |_| true)?,
        is_logarithmic: true,
    })
}

/// Those tables whose first column is tasks a second.
fn pool(tables: &Tables) -> Option<Chart> {
    let is_rate = |title: &&str| {
        tables
            .get("POOL.md", title)
            .is_some_and(|table| table.heads().first().is_some_and(|head| head.ends_with("/s")))
    };
    let titles: Vec<_> = tables.titles("POOL.md").into_iter().filter(is_rate).collect();
    Some(Chart {
        title: "A pool of two processes",
        unit: "trivial tasks a second; more is better",
        series: first_columns(tables, "POOL.md", &titles, |_| true).filter(|series| !series.is_empty())?,
        labels: titles.into_iter().map(str::to_owned).collect(),
        is_logarithmic: true,
    })
}

fn processes(tables: &Tables) -> Option<Chart> {
    let table = tables.get("SCALE.md", "Processes")?;
    let column = |index: usize| table.rows().map(move |(_, cells)| number(cells.get(index)?)).collect();
    Some(Chart {
        title: "1 to 64 processes on two cores",
        unit: "million operations a second; more is better",
        labels: table.rows().map(|(name, _)| name.to_owned()).collect(),
        series: vec![series("**Lock**", column(0)), series("**PlainQueue**", column(2))],
        is_logarithmic: true,
    })
}

/// What the first columns of those tables say of each name in them that is wanted.
fn first_columns(
    tables: &Tables,
    file: &str,
    titles: &[&str],
    is_wanted: impl Fn(&str) -> bool,
) -> Option<Vec<Series>> {
    let tables: Vec<_> = titles.iter().map(|title| tables.get(file, title)).collect::<Option<_>>()?;
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in tables.iter().flat_map(|table| table.rows()) {
        if !names.contains(&name) && is_wanted(name) {
            names.push(name);
        }
    }
    let value = |table: &Table, name: &str| {
        let row = table.rows().find(|(other, _)| *other == name);
        row.and_then(|(_, cells)| number(cells.first()?))
    };
    let values = |name: &str| tables.iter().map(|table| value(table, name)).collect();
    Some(names.into_iter().map(|name| series(name, values(name))).collect())
}

/// Names of ours are in bold.
fn series(name: &str, values: Vec<Option<f64>>) -> Series {
    Series { name: name.replace('*', ""), values, is_ours: name.starts_with("**") }
}
