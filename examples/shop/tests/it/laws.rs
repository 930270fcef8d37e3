//! What any implementation of the ports must keep, whichever database it is over.

use std::time::Duration;

use shop::pkg::{Money, Time};
use shop::{catalog, notify, order};

const NOW: Time = Time::from_millis(1_000_000);

/// Over the seeded shelves: twenty products, 10,000 of each.
pub(crate) async fn catalog<S, V>(shelves: S, shown: V)
where
    S: catalog::biz::Store + Clone,
    V: catalog::data::Views,
{
    use catalog::biz::{Catalog, Error, ProductId, ReservationId, Wanted};
    let id = |text: &str| ReservationId(text.to_owned());
    let want = |product, quantity| Wanted {
        product: ProductId(product),
        quantity,
    };
    let business = Catalog::new(shelves.clone());
    let stock = async |product| {
        shown
            .product(product)
            .await
            .expect("read")
            .expect("there")
            .stock
    };
    let all = [want(2, 1_000), want(1, 3)];

    let held = business
        .reserve(&id("a"), &all, NOW)
        .await
        .expect("in stock");
    assert_eq!(
        held.lines[0].product,
        ProductId(1),
        "in the order of products"
    );
    assert_eq!(
        business.reserve(&id("a"), &all, NOW).await,
        Ok(held),
        "twice is once"
    );
    assert_eq!((stock(1).await, stock(2).await), (9_997, 9_000));

    for _ in 0..9 {
        let id = id(&format!("b{}", stock(2).await));
        business
            .reserve(&id, &[want(2, 1_000)], NOW)
            .await
            .expect("in stock");
    }
    let out = Error::OutOfStock {
        product: ProductId(2),
        left: 0,
    };
    let refused = business
        .reserve(&id("c"), &[want(1, 1), want(2, 1)], NOW)
        .await;
    assert_eq!(refused, Err(out));
    assert_eq!(stock(1).await, 9_997, "nothing of it was done");
    let none = business.reserve(&id("d"), &[want(999, 1)], NOW).await;
    assert_eq!(none, Err(Error::NoProduct(ProductId(999))));

    business.confirm(&id("a")).await.expect("held");
    business.confirm(&id("a")).await.expect("again");
    assert_eq!(
        business.expire(NOW, 100).await,
        Ok(9),
        "all but what is sold"
    );
    assert_eq!(stock(2).await, 9_000);
    business.release(&id("a")).await.expect("given back");
    business.release(&id("a")).await.expect("again");
    assert_eq!((stock(1).await, stock(2).await), (10_000, 10_000));

    let price = Money::cents(1).expect("small");
    business.reprice(ProductId(1), price).await.expect("there");
    business
        .reprice(ProductId(1), price)
        .await
        .expect("the same again");
    assert_eq!(
        business.reprice(ProductId(999), price).await,
        Err(Error::NoProduct(ProductId(999)))
    );
    let listed = shown.list(0, 3).await.expect("read");
    assert_eq!(listed.iter().map(|p| (p.id, p.price)).next(), Some((1, 1)));
    assert_eq!(listed.len(), 3);
    assert!(shown.details(1).await.expect("read").is_some());
    assert!(!shown.recommended(1, 9).await.expect("read").is_empty());
    scramble(business, &shown).await;
}

/// Many reserve the same two products at once, in opposite orders.
async fn scramble<S, V>(business: catalog::biz::Catalog<S>, shown: &V)
where
    S: catalog::biz::Store + Clone,
    V: catalog::data::Views,
{
    use catalog::biz::{ProductId, ReservationId, Wanted};
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..20_u32 {
        let business = business.clone();
        tasks.spawn(async move {
            let id = ReservationId(format!("s{}", n / 2));
            let mut both = [3, 4].map(|product| Wanted {
                product: ProductId(product),
                quantity: 1,
            });
            if n % 2 == 1 {
                both.reverse();
            }
            business.reserve(&id, &both, NOW).await.expect("in stock");
        });
    }
    tasks.join_all().await;
    for product in [3, 4] {
        let product = shown.product(product).await.expect("read").expect("there");
        assert_eq!(
            product.stock, 9_990,
            "ten reservations, each asked for twice"
        );
    }
}

/// Over empty tables.
pub(crate) async fn order<S, V>(books: S, listed: V)
where
    S: order::biz::Store,
    V: order::data::Views,
{
    use order::biz::{
        Event, Line, Order, OrderId, Place, ProductId, Status, Tx as _, Wanted, What,
    };
    let place = Place {
        customer: "ann".to_owned(),
        key: "k".to_owned(),
        lines: vec![Wanted {
            product: ProductId(7),
            quantity: 2,
        }],
    };
    let lines = vec![Line {
        product: ProductId(7),
        title: "tea".to_owned(),
        price: Money::cents(250).expect("small"),
        quantity: 2,
    }];
    let order = Order::new(&place, lines, NOW, Duration::from_secs(60)).expect("small");
    let placed = Event::of(&order, What::Placed, NOW);

    let mut dropped = books.begin("ann").await.expect("begun");
    assert_eq!(dropped.insert(&order).await, Ok(true));
    dropped.append(&placed).await.expect("kept");
    drop(dropped);
    assert_eq!(
        books.find(&order.id).await,
        Ok(None),
        "nothing of it was done"
    );
    assert_eq!(books.untold(9).await, Ok(Vec::new()));

    let mut tx = books.begin("ann").await.expect("begun");
    assert_eq!(tx.insert(&order).await, Ok(true));
    tx.append(&placed).await.expect("kept");
    tx.commit().await.expect("done");
    assert_eq!(books.find(&order.id).await, Ok(Some(order.clone())));
    let mut again = books.begin("ann").await.expect("begun");
    assert_eq!(again.insert(&order).await, Ok(false));
    drop(again);

    assert_eq!(books.untold(9).await, Ok(vec![placed.clone()]));
    books.told(&placed).await.expect("told");
    assert_eq!(books.untold(9).await, Ok(Vec::new()));

    let early = order.pay_by.before(Duration::from_millis(1));
    assert_eq!(books.overdue(early, 9).await, Ok(Vec::new()));
    assert_eq!(
        books.overdue(order.pay_by, 9).await,
        Ok(vec![order.clone()])
    );
    let mut tx = books.begin("ann").await.expect("begun");
    let (from, to) = (Status::Unpaid, Status::Expired);
    assert_eq!(tx.turn(&order.id, from, to).await, Ok(true));
    assert_eq!(tx.turn(&order.id, from, to).await, Ok(false));
    assert_eq!(
        tx.turn(&OrderId("none".to_owned()), from, to).await,
        Ok(false)
    );
    tx.commit().await.expect("done");
    assert_eq!(books.overdue(order.pay_by, 9).await, Ok(Vec::new()));

    let latest = listed.latest("ann", 9).await.expect("read");
    assert_eq!(
        latest.iter().map(|o| o.status).collect::<Vec<_>>(),
        [Status::Expired]
    );
    assert_eq!(listed.latest("bob", 9).await.expect("read"), []);
}

struct Post;

impl notify::biz::Mail for Post {
    async fn send(&self, _: &notify::biz::Notice) -> Result<(), notify::biz::Error> {
        Ok(())
    }
}

/// Over an empty table.
pub(crate) async fn notify<S: notify::biz::Store + Clone>(notes: S) {
    use notify::biz::{Happened, Kind, Notices, Order};
    let order = Order {
        id: "o".to_owned(),
        customer: "ann".to_owned(),
        total: Money::cents(500).expect("small"),
        pay_by: NOW.after(Duration::from_secs(900)),
    };
    let business = Notices::new(notes.clone());
    for happened in [Happened::Paid, Happened::Placed, Happened::Paid] {
        business.hear(happened, &order, NOW).await.expect("kept");
    }
    let late = NOW.after(Duration::from_secs(1_000));
    let mine = notes
        .claim(late, late.after(Duration::from_secs(30)), 9)
        .await
        .expect("claimed");
    assert_eq!(
        mine.iter().map(|n| n.kind).collect::<Vec<_>>(),
        [Kind::Receipt]
    );
    assert_eq!(
        business.send(&Post, late, 9).await,
        Ok((0, 0)),
        "it is another's"
    );
    let later = late.after(Duration::from_secs(30));
    assert_eq!(
        business.send(&Post, later, 9).await,
        Ok((1, 0)),
        "who has died, it seems"
    );
    assert_eq!(
        business
            .send(&Post, later.after(Duration::from_secs(99)), 9)
            .await,
        Ok((0, 0))
    );
}
