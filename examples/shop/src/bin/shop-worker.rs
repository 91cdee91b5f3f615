//! The worker: takes orders from the queue, one at a time, and writes receipts.

use std::process::ExitCode;

use composer_shop::Result;
use composer_shop::model::{Order, Receipt};
use composer_shop::service::{self, log, setting};
use composer_shop::store::{Request, Store};

async fn work() -> Result<()> {
    let worker = setting("HOSTNAME", "worker");
    let mut store = Store::connect().await?;
    log(format_args!("{worker} waits for orders"));
    let queue = || "orders".to_owned();
    loop {
        let order: Order = serde_json::from_value(store.ask(&Request::Take { queue: queue() }).await?)?;
        let key = format!("receipt/{}", order.id);
        // One whose worker died between the receipt and the end of its work is not dealt with twice.
        if store.get::<Receipt>(&key).await?.is_none() {
            let receipt = deal_with(&mut store, &worker, &order).await?;
            store.set(&key, &receipt).await?;
            let result = if receipt.accepted { "sold" } else { "not enough left" };
            log(format_args!("order {}: {} × {}: {result}", order.id, order.quantity, order.product.name));
        }
        store.ask(&Request::Done { queue: queue() }).await?;
    }
}

async fn deal_with(store: &mut Store, worker: &str, order: &Order) -> Result<Receipt> {
    let key = format!("stock/{}", order.product.sku);
    let taken = store.ask(&Request::Add { key: key.clone(), by: -i64::from(order.quantity) }).await;
    let accepted = taken.is_ok();
    Ok(Receipt {
        order: order.id,
        accepted,
        cents: if accepted { order.product.cents * u64::from(order.quantity) } else { 0 },
        left: store.get(&key).await?.unwrap_or(0),
        worker: worker.to_owned(),
    })
}

fn main() -> ExitCode {
    service::run(work())
}
