//! How far pulls have come, on standard error: bars drawn in place, or a line for every event.

mod bars;

use std::io::IsTerminal;

use serde_json::json;

use super::Output;
use super::amount::decimal;
use crate::options::ProgressStyle;
use crate::time;
use bars::Bars;

/// What has happened with an image. Layers are named by the first digits of their digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is asked for.
    Asked,
    /// Its layers are known: name, size as it is downloaded, whether it is there.
    Layers(Vec<(String, u64, bool)>),
    /// Another process is bringing a layer.
    Waiting(String),
    /// So many bytes of a layer have come.
    Advanced(String, u64),
    /// A layer's download broke off, for this reason, and goes on.
    Retrying(String, String),
    /// A layer is there.
    Done(String),
    /// The image is there, after something had to be asked of its source.
    Pulled,
    /// Nothing was asked of anybody, for this reason.
    Skipped(String),
    /// It could not be brought.
    Failed(String),
}

/// Shows pulls.
pub struct Pulls {
    images: Vec<Image>,
    shape: Shape,
}

enum Shape {
    Bars(Box<Bars>),
    Plain,
    Json,
    Quiet,
}

/// One image on its way.
struct Image {
    name: String,
    begun: u64,
    layers: Vec<Layer>,
    is_over: bool,
}

struct Layer {
    name: String,
    /// Bytes, as it is downloaded.
    size: u64,
    come: u64,
    /// In Docker's words.
    text: &'static str,
    /// Whether it was there before.
    was_here: bool,
}

impl Pulls {
    /// Of nothing yet, under a title such as `pull`.
    pub fn new(style: ProgressStyle, title: &'static str, out: &Output) -> Self {
        let in_place = || std::io::stderr().is_terminal();
        let bars = |color| Shape::Bars(Box::new(Bars::new(title, color)));
        let shape = match style {
            ProgressStyle::Auto if in_place() && out.color_errors => bars(true),
            ProgressStyle::Tty if in_place() => bars(out.color_errors),
            ProgressStyle::Auto | ProgressStyle::Tty | ProgressStyle::Plain => Shape::Plain,
            ProgressStyle::Json => Shape::Json,
            ProgressStyle::Quiet => Shape::Quiet,
        };
        Self { images: Vec::new(), shape }
    }

    /// Whether [`Pulls::tick`] is to be called now and then.
    pub fn is_animated(&self) -> bool {
        matches!(self.shape, Shape::Bars(_))
    }

    /// Draws what has come since it was last called.
    pub fn tick(&mut self) {
        if let Shape::Bars(bars) = &mut self.shape {
            bars.draw(&self.images);
        }
    }

    /// Shows a step of an image: what becomes of one that has been asked for, or has something to be moved.
    pub fn step(&mut self, name: &str, step: &Step, out: &mut Output) {
        let place = match self.images.iter().position(|image| image.name == name) {
            Some(place) => place,
            None if step.follows() => return,
            None => {
                self.images.push(Image::new(name));
                if matches!(step, Step::Layers(_)) {
                    self.step(name, &Step::Asked, out);
                }
                self.images.len() - 1
            }
        };
        let image = &mut self.images[place];
        image.take(step);
        match &mut self.shape {
            Shape::Bars(bars) => bars.step(place, image, step),
            Shape::Plain => plain(image, step).iter().for_each(|line| out.note(line)),
            Shape::Json => jsons(image, step).iter().for_each(|line| out.note(line)),
            Shape::Quiet => {}
        }
    }

    /// The last step of an image, unless it has been shown how it ended.
    pub fn conclude(&mut self, name: &str, step: &Step, out: &mut Output) {
        if !self.images.iter().any(|image| image.name == name && image.is_over) {
            self.step(name, step, out);
        }
    }

    /// Ends the drawing in place: what was drawn last stays.
    pub fn finish(&mut self) {
        if let Shape::Bars(bars) = &mut self.shape {
            bars.finish(&self.images);
        }
    }
}

impl Step {
    fn follows(&self) -> bool {
        match self {
            Self::Waiting(_) | Self::Advanced(..) | Self::Retrying(..) | Self::Done(_) => true,
            Self::Pulled | Self::Failed(_) => true,
            Self::Asked | Self::Layers(_) | Self::Skipped(_) => false,
        }
    }
}

impl Image {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), begun: time::now(), layers: Vec::new(), is_over: false }
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Asked => self.begun = time::now(),
            Step::Layers(layers) => {
                self.layers =
                    layers.iter().map(|(name, size, here)| Layer::new(name, *size, *here)).collect();
            }
            Step::Waiting(name) => self.layer(name, |layer| layer.text = "Waiting"),
            Step::Advanced(name, bytes) => self.layer(name, |layer| {
                (layer.text, layer.come) = ("Pulling", *bytes);
            }),
            Step::Retrying(name, _) => self.layer(name, |layer| layer.text = "Retrying"),
            Step::Done(name) => self.layer(name, |layer| {
                layer.come = layer.size;
                layer.text = if layer.was_here { "Already exists" } else { "Pull complete" };
            }),
            Step::Pulled | Step::Skipped(_) | Step::Failed(_) => self.is_over = true,
        }
    }

    fn layer(&mut self, name: &str, change: impl Fn(&mut Layer)) {
        self.layers.iter_mut().filter(|layer| layer.name == name).for_each(change);
    }

    fn find(&self, name: &str) -> Option<&Layer> {
        self.layers.iter().find(|layer| layer.name == name)
    }

    /// How many bytes have come, and how many are to.
    fn total(&self) -> (u64, u64) {
        let moved = self.layers.iter().filter(|layer| !layer.was_here);
        moved.fold((0, 0), |(come, size), layer| (come + layer.come, size + layer.size))
    }

    /// `67.3MB in 2.1s`.
    fn summary(&self) -> String {
        let seconds = time::between(self.begun, time::now()).as_secs_f64();
        match self.total() {
            (_, 0) => "up to date".to_owned(),
            (_, size) => format!("{} in {seconds:.1}s", decimal(size)),
        }
    }
}

impl Layer {
    fn new(name: &str, size: u64, was_here: bool) -> Self {
        let text = if was_here { "Already exists" } else { "Pulling" };
        Self { name: name.to_owned(), size, come: 0, text, was_here }
    }
}

/// The lines of a step where nothing can be drawn, in Docker Compose's form.
fn plain(image: &Image, step: &Step) -> Vec<String> {
    let of_image = |text: &str, more: &str| vec![format!(" Image {}  {text}{more}", image.name)];
    let of_layer = |name: &str, more: String| {
        let layer = image.find(name);
        layer.map(|layer| format!(" {name}  {}{more}", layer.text)).into_iter().collect()
    };
    match step {
        Step::Asked => of_image("Pulling", ""),
        Step::Layers(_) | Step::Advanced(..) => Vec::new(),
        Step::Waiting(name) => of_layer(name, "  somebody else is bringing it".to_owned()),
        Step::Retrying(name, reason) => of_layer(name, format!("  {}", super::plain::plain(reason))),
        Step::Done(name) => {
            let moved = image.find(name).filter(|layer| !layer.was_here);
            of_layer(name, moved.map(|layer| format!("  {}", decimal(layer.size))).unwrap_or_default())
        }
        Step::Pulled => of_image("Pulled", &format!("  {}", image.summary())),
        Step::Skipped(why) => of_image("Skipped", &format!("  {why}")),
        Step::Failed(_) => of_image("Error", ""),
    }
}

/// One object a line, with Docker Compose's keys.
fn jsons(image: &Image, step: &Step) -> Vec<String> {
    let id = format!("Image {}", image.name);
    let of_image = |status: &str, text: &str, details: Option<&str>| {
        vec![json!({ "id": id, "status": status, "text": text, "details": details }).to_string()]
    };
    let of_layer = |name: &str, status: &str, details: Option<&str>| match image.find(name) {
        Some(layer) => {
            let percent = (layer.come * 100).checked_div(layer.size).unwrap_or(100);
            let object = json!({
                "id": name, "parent_id": id, "status": status, "text": layer.text, "details": details,
                "current": layer.come, "total": layer.size, "percent": percent,
            });
            vec![object.to_string()]
        }
        None => Vec::new(),
    };
    match step {
        Step::Asked => of_image("Working", "Pulling", None),
        Step::Layers(_) => Vec::new(),
        Step::Waiting(name) | Step::Advanced(name, _) => of_layer(name, "Working", None),
        Step::Retrying(name, reason) => of_layer(name, "Working", Some(reason)),
        Step::Done(name) => of_layer(name, "Done", None),
        Step::Pulled => of_image("Done", "Pulled", Some(&image.summary())),
        Step::Skipped(why) => of_image("Done", "Skipped", Some(why)),
        Step::Failed(why) => of_image("Error", "Error", Some(why)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(steps: &[Step]) -> Image {
        let mut image = Image::new("shop/api:v1");
        steps.iter().for_each(|step| image.take(step));
        image
    }

    fn layers() -> Step {
        Step::Layers(vec![("aa".to_owned(), 2_000, true), ("bb".to_owned(), 28_200_000, false)])
    }

    #[test]
    fn lines_are_in_dockers_words() {
        let done = |name: &str| Step::Done(name.to_owned());
        let here = image(&[layers(), done("aa"), done("bb")]);
        assert_eq!(plain(&here, &Step::Asked), [" Image shop/api:v1  Pulling"]);
        assert_eq!(plain(&here, &done("aa")), [" aa  Already exists"]);
        assert_eq!(plain(&here, &done("bb")), [" bb  Pull complete  28.2MB"]);
        assert_eq!(plain(&here, &Step::Pulled), [" Image shop/api:v1  Pulled  28.2MB in 0.0s"]);
        let retrying = Step::Retrying("bb".to_owned(), "\u{1b}[31mcut".to_owned());
        assert_eq!(plain(&image(&[layers(), retrying.clone()]), &retrying), [" bb  Retrying  cut"]);
        assert_eq!(plain(&here, &Step::Advanced("bb".to_owned(), 1)), [""; 0]);
    }

    #[test]
    fn objects_have_dockers_keys() {
        let half = Step::Advanced("bb".to_owned(), 14_100_000);
        assert_eq!(
            jsons(&image(&[layers(), half.clone()]), &half),
            [
                r#"{"current":14100000,"details":null,"id":"bb","parent_id":"Image shop/api:v1","percent":50,"status":"Working","text":"Pulling","total":28200000}"#
            ]
        );
        assert_eq!(
            jsons(&image(&[]), &Step::Pulled),
            [r#"{"details":"up to date","id":"Image shop/api:v1","status":"Done","text":"Pulled"}"#]
        );
    }
}
