//! The layout of a batch of requests, written by `lib/outbox.js`.

use crate::session::{Bulk, Operation, Request, RequestId};

/// Numbers per request: operation, request, bytes of the id, bytes of the value, lifetime.
const FIELDS: usize = 5;

/// Takes a batch apart: the requests, and how many of the `available` bytes they use. Ids and values
/// lie one after the other in the bytes, in the order of the requests. A lifetime is in milliseconds,
/// 0 for none. `None` if the numbers do not describe a batch.
pub(super) fn decode(heads: &[f64], available: usize, count: u32) -> Option<(Vec<Request>, usize)> {
    let count = count as usize;
    let heads = heads.get(..count.checked_mul(FIELDS)?)?;
    let mut requests = Vec::with_capacity(count);
    let mut used = 0usize;
    for head in heads.chunks_exact(FIELDS) {
        let &[operation, request, id_bytes, value_bytes, ttl] = head else {
            return None;
        };
        // A cast from f64 saturates, so what is out of range fails the checks below.
        let request = request as RequestId;
        let mut take = |length: f64| {
            let end = used.checked_add(length as usize)?;
            let range = used..end;
            used = end;
            (end <= available).then_some(range)
        };
        let (id, value) = (take(id_bytes)?, take(value_bytes)?);
        let operation = match operation as u32 {
            0 => Operation::Get,
            1 => Operation::Set,
            2 => Operation::Touch,
            3 => Operation::Destroy,
            other => {
                requests.push(match other {
                    4 => Request::Walk(request, Bulk::All),
                    5 => Request::Walk(request, Bulk::Ids),
                    6 => Request::Walk(request, Bulk::Length),
                    7 => Request::Walk(request, Bulk::Clear),
                    8 => Request::Close(request),
                    _ => return None,
                });
                continue;
            }
        };
        requests.push(Request::One {
            request,
            operation,
            id,
            value,
            ttl: (ttl > 0.0).then_some(ttl as u64),
        });
    }
    Some((requests, used))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_taken_apart_in_order() {
        let heads = [
            0.0, 7.0, 3.0, 0.0, 0.0, 1.0, 8.0, 2.0, 4.0, 150.0, 6.0, 9.0, 0.0, 0.0, 0.0,
        ];
        let (requests, used) = decode(&heads, 9, 3).expect("a batch");
        assert_eq!(used, 9);
        assert!(matches!(
            &requests[0],
            Request::One { request: 7, operation: Operation::Get, id, ttl: None, .. } if *id == (0..3)
        ));
        assert!(matches!(
            &requests[1],
            Request::One { request: 8, operation: Operation::Set, id, value, ttl: Some(150) }
                if *id == (3..5) && *value == (5..9)
        ));
        assert!(matches!(&requests[2], Request::Walk(9, Bulk::Length)));
    }

    #[test]
    fn numbers_that_describe_no_batch_are_refused() {
        assert!(decode(&[0.0; 5], 0, 2).is_none(), "too few heads");
        assert!(
            decode(&[0.0, 1.0, 5.0, 0.0, 0.0], 4, 1).is_none(),
            "bytes beyond the end"
        );
        assert!(
            decode(&[0.0, 1.0, f64::INFINITY, f64::INFINITY, 0.0], 4, 1).is_none(),
            "lengths that overflow"
        );
        assert!(
            decode(&[99.0, 1.0, 0.0, 0.0, 0.0], 4, 1).is_none(),
            "an unknown operation"
        );
    }
}
