//! The examples of pools and executors as their users run them.
#![cfg(feature = "auto-init")]

mod built;

use std::fs::File;
use std::io::BufReader;

use built::said_by;

#[test]
fn prime_pool_counts_the_primes() {
    assert_eq!(said_by("prime_pool", &["100000", "2"]), "9592 primes below 100000\n");
    assert_eq!(said_by("prime_pool", &["3", "1"]), "1 primes below 3\n");
}

#[test]
fn both_executors_agree() {
    let expected = "threads: (6171, 261)\nprocesses: (6171, 261)\ntogether: [(27, 111), (97, 118)]\n";
    assert_eq!(said_by("both_executors", &[]), expected);
}

#[test]
fn mandelbrot_writes_the_picture_and_compares() {
    let path = std::env::temp_dir().join(format!("multiproc-mandelbrot-{}.png", std::process::id()));
    let said = said_by("mandelbrot", &[path.to_str().unwrap(), "90", "60", "2"]);
    let lines: Vec<_> = said.lines().collect();
    for (line, start) in lines.iter().zip(["one core: ", "2 threads: ", "2 processes: ", "threads "]) {
        assert!(line.starts_with(start), "{said}");
    }
    assert_eq!(lines.get(4), Some(&format!("{}: 90 x 60", path.display()).as_str()));

    let picture = png::Decoder::new(BufReader::new(File::open(&path).unwrap()));
    std::fs::remove_file(&path).unwrap();
    let mut picture = picture.read_info().unwrap();
    let mut pixels = vec![0; picture.output_buffer_size().unwrap()];
    let info = picture.next_frame(&mut pixels).unwrap();
    assert_eq!((info.width, info.height, info.color_type), (90, 60, png::ColorType::Rgb));
    // At 30 pixels a unit: the origin of the plane is in the set; the corner is not, and has left at once.
    let pixel = |column: usize, row: usize| &pixels[(row * 90 + column) * 3..][..3];
    assert_eq!(pixel(67, 30), [0, 0, 0]);
    let [red, green, blue] = pixel(0, 0) else { panic!("three bytes") };
    assert!(red < green && green < blue && *blue < 128, "{:?}", pixel(0, 0));
}
