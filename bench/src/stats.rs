//! Percentiles and tables.

/// Value at a share (0 to 1) of a sample.
pub fn at(sorted: &[f64], share: f64) -> f64 {
    if sorted.is_empty() {
        return f64::NAN;
    }
    let n = ((sorted.len() - 1) as f64 * share).round() as usize;
    sorted.get(n).copied().unwrap_or(f64::NAN)
}

pub fn median(values: &[f64]) -> f64 {
    let mut v: Vec<f64> = values.iter().copied().filter(|x| x.is_finite()).collect();
    v.sort_by(f64::total_cmp);
    at(&v, 0.5)
}

/// What is told of a sample.
#[derive(Debug, Clone, Copy)]
pub struct Spread {
    pub n: usize,
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
    pub max: f64,
}

impl Spread {
    pub fn of(mut values: Vec<f64>) -> Spread {
        values.sort_by(f64::total_cmp);
        Spread {
            n: values.len(),
            p50: at(&values, 0.5),
            p95: at(&values, 0.95),
            p99: at(&values, 0.99),
            max: at(&values, 1.0),
        }
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::json!({"n": self.n, "p50": self.p50, "p95": self.p95, "p99": self.p99, "max": self.max})
    }
}

/// A table in Markdown, as it is printed and as it goes into the page.
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(head: &[&str]) -> Table {
        Table { rows: vec![head.iter().map(ToString::to_string).collect()] }
    }

    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    pub fn print(&self, title: &str) {
        println!("\n### {title}\n");
        let columns = self.rows.first().map_or(0, Vec::len);
        let width = |c: usize| self.rows.iter().filter_map(|r| r.get(c)).map(|t| t.chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for (n, row) in self.rows.iter().enumerate() {
            let cells: Vec<String> = row.iter().zip(&widths).map(|(t, w)| format!("{t:<w$}")).collect();
            println!("| {} |", cells.join(" | "));
            if n == 0 {
                let lines: Vec<String> = widths.iter().map(|w| "-".repeat(*w)).collect();
                println!("| {} |", lines.join(" | "));
            }
        }
    }
}
