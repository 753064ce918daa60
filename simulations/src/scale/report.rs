//! The table and the chart of `docs/scale.md`.

use std::fmt::Write;

use dunlin_index::IndexError;

use super::gossip::{HOP_MS, Overlay, SHIPPED, Shape, Spread};
use super::repair::{CatchUp, Cost, catch_up, spread_changes};
use crate::random::Random;

/// Other members that a device dials when it joins; as many dial it later, in the mean.
const DIALS: usize = 16;

/// Messages whose spread is followed, from devices all over the mesh.
const MESSAGES: usize = 20;

/// Up to this size every device has an index and a replicator of its own.
const REPAIR_DEVICES_MAX: usize = 100;

/// The bars: until 99 % of 1,000 devices have a change, and how often each is sent it.
const LATENCY_MS_MAX: u64 = 500;
const COPIES_MAX: f64 = 7.0;

/// The bar: what catching up may send for each missing byte.
const CATCH_UP_MAX: f64 = 1.2;

/// Shapes that are compared with the shipped one.
const OTHERS: [Shape; 6] = [
    shape(6, 5, 8),
    shape(5, 4, 8),
    shape(5, 4, 7),
    shape(4, 3, 10),
    shape(4, 3, 6),
    shape(6, 5, 12),
];

const fn shape(aim: usize, low: usize, high: usize) -> Shape {
    Shape { aim, low, high, outbound_min: 2, flood_publish: true }
}

/// What was found for one size.
struct Size {
    devices: usize,
    links: f64,
    neighbours: f64,
    /// Until 50, 99 and 100 % had it.
    times: [Option<u64>; 3],
    hops: u32,
    copies: f64,
    cost: Option<Cost>,
    curve: Vec<(u64, f64)>,
}

fn follow(devices: usize, shape: Shape, seed: u64) -> (Overlay, Vec<Spread>) {
    let mut random = Random::new(seed);
    let overlay = Overlay::build(devices, DIALS, shape, &mut random);
    let spreads = (0..MESSAGES).map(|_| overlay.spread(random.index(devices))).collect();
    (overlay, spreads)
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0_u32), |(sum, count), value| (sum + value, count + 1));
    sum / f64::from(count.max(1))
}

/// Gives the worst of some messages' times, or nothing when forwarding did not reach so many.
fn worst(spreads: &[Spread], percent: usize) -> Option<u64> {
    let times: Option<Vec<u64>> = spreads.iter().map(|spread| spread.reached(percent)).collect();
    times?.into_iter().max()
}

fn shown(time: Option<u64>) -> String {
    time.map_or_else(|| "-".to_owned(), |ms| format!("{ms} ms"))
}

fn measure(devices: usize) -> Result<Size, IndexError> {
    let (overlay, spreads) = follow(devices, SHIPPED, 11);
    let cost =
        (devices <= REPAIR_DEVICES_MAX).then(|| spread_changes(&overlay, 3, 5)).transpose()?;
    let links: usize = overlay.links.iter().map(Vec::len).sum();
    let curve = (0..=10).map(|hop| {
        let reached = spreads.iter().map(|spread| {
            let had = spread.arrived.iter().flatten().filter(|at| **at <= hop * HOP_MS);
            had.count() as f64 / devices as f64
        });
        (hop * HOP_MS, mean(reached))
    });
    Ok(Size {
        devices,
        links: links as f64 / devices as f64,
        neighbours: overlay.mean_neighbours(),
        times: [worst(&spreads, 50), worst(&spreads, 99), worst(&spreads, 100)],
        hops: spreads.iter().flat_map(|spread| &spread.hops).copied().max().unwrap_or(0),
        copies: mean(spreads.iter().map(Spread::mean_copies)),
        cost,
        curve: curve.collect(),
    })
}

/// The document, the chart, and whether all bars are kept.
pub struct Report {
    /// Markdown.
    pub document: String,
    /// The chart, as SVG.
    pub chart: String,
    /// The bars that are missed, in words.
    pub missed: Vec<String>,
}

/// Measures everything and writes it down.
///
/// # Errors
/// When an index fails, which would be a fault.
pub fn report() -> Result<Report, IndexError> {
    let sizes: Vec<Size> =
        [10, 100, 1000, 10_000].into_iter().map(measure).collect::<Result<_, _>>()?;
    let weeks = [
        (10, catch_up(10, 5, 2000)?),
        (100, catch_up(100, 20, 2000)?),
        (1000, catch_up(1000, 50, 5000)?),
    ];
    let missed = missed(&sizes, &weeks);
    Ok(Report { document: document(&sizes, &weeks, &missed), chart: chart(&sizes), missed })
}

fn missed(sizes: &[Size], weeks: &[(usize, CatchUp)]) -> Vec<String> {
    let mut missed = Vec::new();
    for size in sizes.iter().filter(|size| size.devices == 1000) {
        if size.times[1].is_none_or(|ms| ms > LATENCY_MS_MAX) {
            missed.push(format!("1,000 devices: 99 % after {}, not 500 ms", shown(size.times[1])));
        }
        if size.copies > COPIES_MAX {
            missed.push(format!("1,000 devices: {:.1} copies a device, not 7", size.copies));
        }
    }
    for (members, week) in weeks {
        if ratio(week) > CATCH_UP_MAX {
            missed
                .push(format!("{members} members: catching up costs {:.2}, not 1.2", ratio(week)));
        }
    }
    missed
}

fn ratio(week: &CatchUp) -> f64 {
    week.sent as f64 / week.missing as f64
}

const INTRODUCTION: &str = "\
# Spreading changes in meshes of 10 to 10,000 devices

Written by `cargo run -p simulations --release --bin scale`; the code is in `simulations/src/scale`.

One hop takes 50 ms. Each device dials up to 16 members when it joins. Gossipsub's mesh is modelled
with the parameters that ship (4 neighbours aimed for, at least 3, at most 8; flood
publishing; folders with up to 8 connected members directly), grafting on subscription and heartbeats
until it is at rest. Times are the worst of 20 messages, copies the mean.

![Share of the devices that have a change, over time](scale.svg)

";

fn document(sizes: &[Size], weeks: &[(usize, CatchUp)], missed: &[String]) -> String {
    let mut text = INTRODUCTION.to_owned();
    text.push_str(
        "| devices | connections | neighbours | 50 % | 99 % | 100 % | hops | copies a device |\n\
         | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for size in sizes {
        let [half, most, all] = size.times.map(shown);
        let (links, neighbours, copies) = (size.links, size.neighbours, size.copies);
        let _ = writeln!(
            text,
            "| {} | {links:.0} | {neighbours:.1} | {half} | {most} | {all} | {} | {copies:.1} |",
            size.devices, size.hops,
        );
    }
    text.push_str(
        "\nA dash says that forwarding alone did not reach all: now and then all that a device is\n\
         connected with have as many neighbours as they take. It hears of the message at the next\n\
         heartbeat, within 7 s, or by repair.\n",
    );
    costs(&mut text, sizes);
    shapes(&mut text);
    text.push_str(
        "\n## Catching up after a week away\n\n\
         Two devices with the shipped index and replicator meet; one was away while others made\n\
         changes, each pushed on its own at the time. Missing are the bytes of the segments that hold\n\
         them, joined as they are stored by then; sent is all that both say until they agree, states\n\
         included, which name every author.\n\n\
         | members | changes | as pushed | missing | sent | ratio | messages until it has everything |\n\
         | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for (members, week) in weeks {
        let _ = writeln!(
            text,
            "| {members} | {} | {} KB | {} KB | {} KB | {:.2} | {} |",
            week.changes,
            week.pushed / 1000,
            week.missing / 1000,
            week.sent / 1000,
            ratio(week),
            week.trips,
        );
    }
    text.push_str("\n## Bars\n\n");
    if missed.is_empty() {
        text.push_str("All are kept: with 1,000 devices 99 % have a change within 500 ms, in at most\n7 copies a device; catching up costs at most 1.2 times what was missing.\n");
    }
    for bar in missed {
        let _ = writeln!(text, "- Missed: {bar}.");
    }
    text
}

fn costs(text: &mut String, sizes: &[Size]) {
    text.push_str(
        "\n## Bytes a device and change\n\n\
         With an index and a replicator on every device: what each receives on account of one\n\
         change, during 10 s. States are acknowledgements and periodic heads; each names every author.\n\n\
         | devices | a push | pushes | states | repair | all have it after |\n\
         | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for size in sizes {
        if let Some(cost) = &size.cost {
            let Cost { push_bytes, pushed, states, repaired, all_ms } = cost;
            let _ = writeln!(
                text,
                "| {} | {push_bytes} | {pushed:.0} | {states:.0} | {repaired:.0} | {all_ms} ms |",
                size.devices,
            );
        }
    }
}

fn shapes(text: &mut String) {
    text.push_str(
        "\n## Other parameters, 1,000 devices\n\n\
         | neighbours: aim, low, high | in the mean | 99 % | 100 % | copies a device |\n\
         | --- | ---: | ---: | ---: | ---: |\n",
    );
    let mut keeping = Vec::new();
    for shape in [SHIPPED].into_iter().chain(OTHERS) {
        let (overlay, spreads) = follow(1000, shape, 11);
        let (most, all) = (worst(&spreads, 99), worst(&spreads, 100));
        let copies = mean(spreads.iter().map(Spread::mean_copies));
        let name = format!("{}, {}, {}", shape.aim, shape.low, shape.high);
        let _ = writeln!(
            text,
            "| {name} | {:.1} | {} | {} | {copies:.1} |",
            overlay.mean_neighbours(),
            shown(most),
            shown(all),
        );
        if most.is_some_and(|ms| ms <= LATENCY_MS_MAX) && all.is_some() && copies <= COPIES_MAX {
            keeping.push(format!("({name})"));
        }
    }
    let keeping = if keeping.is_empty() { "none".to_owned() } else { keeping.join(", ") };
    let _ = writeln!(text, "\nThese reach all by forwarding and keep both bars: {keeping}.");
}

fn chart(sizes: &[Size]) -> String {
    const COLOURS: [&str; 4] = ["#4477aa", "#228833", "#ee6677", "#aa3377"];
    let x = |ms: u64| 60.0 + ms as f64;
    let y = |share: f64| 270.0 - share * 230.0;
    let mut svg = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 640 320\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"640\" height=\"320\" fill=\"white\"/>\n",
    );
    for ms in (0..=500).step_by(100) {
        let at = x(ms);
        let _ = writeln!(
            svg,
            "<path d=\"M{at} 40V270\" stroke=\"#ddd\"/>\
             <text x=\"{at}\" y=\"288\" text-anchor=\"middle\">{ms}</text>"
        );
    }
    for percent in [0_u32, 50, 100] {
        let at = y(f64::from(percent) / 100.0);
        let _ = writeln!(
            svg,
            "<path d=\"M60 {at}H560\" stroke=\"#ddd\"/>\
             <text x=\"52\" y=\"{}\" text-anchor=\"end\">{percent} %</text>",
            at + 4.0,
        );
    }
    svg.push_str(
        "<text x=\"310\" y=\"308\" text-anchor=\"middle\">milliseconds, 50 a hop</text>\n\
         <text x=\"60\" y=\"24\">devices that have the change</text>\n",
    );
    for (number, (size, colour)) in sizes.iter().zip(COLOURS).enumerate() {
        let points: Vec<String> = size
            .curve
            .iter()
            .map(|(ms, share)| format!("{:.0},{:.1}", x(*ms), y(*share)))
            .collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\
             <text x=\"500\" y=\"{}\" fill=\"{colour}\">{} devices</text>",
            points.join(" "),
            180 + 18 * number,
            size.devices,
        );
    }
    svg.push_str("</svg>\n");
    svg
}
