//! Draws the Mandelbrot set, and says how long that takes on one core, on threads and in processes:
//! `cargo run --release --example mandelbrot -- [FILE.png] [WIDTH] [HEIGHT] [WORKERS]`.
//!
//! A row is a task. Rows come in their order, each as soon as it is there, so the picture is written as it comes.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use multiproc::{Pool, TaskError, cpu_count, threads};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Of a point that has not left after so many steps nobody knows better: it is black.
const STEPS: u32 = 1000;

/// A row of a picture of so many columns and rows.
type Row = (u32, u32, u32);

/// The pixels of a row, red, green and blue. Three units of the plane are as wide as the picture.
fn draw((row, columns, rows): Row) -> Vec<u8> {
    let unit = 3.0 / f64::from(columns);
    let y = (f64::from(row) - f64::from(rows) / 2.0) * unit;
    let colour = |column| {
        let steps = steps(f64::from(column) * unit - 2.25, y);
        // It gets brighter near the set, blue first.
        let light = |speed: u32| steps.map_or(0, |steps| ((steps + 1) * speed).min(255) as u8);
        [light(4), light(6), light(16)]
    };
    (0..columns).flat_map(colour).collect()
}

/// After how many steps of `z = z * z + c` the point c has left, if it has.
fn steps(x: f64, y: f64) -> Option<u32> {
    let (mut re, mut im) = (0.0, 0.0);
    (0..STEPS).find(|_| {
        (re, im) = (re * re - im * im + x, 2.0 * re * im + y);
        re * re + im * im > 4.0
    })
}

/// Takes the rows as they come, and says how long that took.
fn paint(
    name: &str,
    rows: impl Iterator<Item = std::result::Result<Vec<u8>, TaskError>>,
    count: u32,
    mut pixels: impl Write,
) -> Result<Duration> {
    // Nothing is drawn where standard error is no terminal.
    let bar = ProgressBar::with_draw_target(Some(u64::from(count)), ProgressDrawTarget::stderr());
    bar.set_style(ProgressStyle::default_bar());
    let begun = Instant::now();
    for row in rows {
        pixels.write_all(&row?)?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    let time = begun.elapsed();
    println!("{name}: {:.3} s", time.as_secs_f64());
    Ok(time)
}

fn argument(index: usize, default: u32) -> Result<u32> {
    let Some(text) = std::env::args().nth(index) else { return Ok(default) };
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(format!("expected a positive number, found {text}").into()),
    }
}

fn main() -> Result<()> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "mandelbrot.png".to_owned());
    let (columns, rows) = (argument(2, 1200)?, argument(3, 800)?);
    let workers = argument(4, u32::try_from(cpu_count()).unwrap_or(u32::MAX))? as usize;
    let all = || (0..rows).map(move |row| (row, columns, rows));

    let mut picture = Vec::new();
    let alone = paint("one core", all().map(|row| Ok(draw(row))), rows, &mut picture)?;

    // The same calls on both kinds of pool. Their workers start before the clock does.
    let mut again = Vec::new();
    let pool = threads::Pool::new(workers)?;
    let on_threads = paint(&format!("{workers} threads"), pool.imap(draw, all()), rows, &mut again)?;
    assert!(again == picture, "threads draw another picture");

    let mut png = png::Encoder::new(BufWriter::new(File::create(&path)?), columns, rows);
    png.set_color(png::ColorType::Rgb);
    png.set_depth(png::BitDepth::Eight);
    let mut png = png.write_header()?;

    let pool = Pool::new(workers)?;
    let mut pixels = png.stream_writer()?;
    let in_processes = paint(&format!("{workers} processes"), pool.imap(draw, all()), rows, &mut pixels)?;
    pixels.finish()?;
    png.finish()?;

    let times = |time: Duration| alone.as_secs_f64() / time.as_secs_f64();
    println!(
        "threads {:.2} times, processes {:.2} times as fast as one core",
        times(on_threads),
        times(in_processes)
    );
    println!("{path}: {columns} x {rows}");
    Ok(())
}
