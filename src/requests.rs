//! The layout of a batch of requests, written by `lib/boundary/outbox.js`.

use connect_redis_core::{
    Bulk, Operation, ReportEnd, Request, RequestId, ScanId, ScriptRequest, SessionRequest, Write,
};

/// The numbers per request: operation, request, length of the ID, of the value and of the base in bytes, lifetime.
const FIELDS: usize = 6;

/// Added to the operation of a request that is traced.
const TRACED: u32 = 64;

/// The operations. `__test__/contract/boundary.test.js` compares them with those of JavaScript.
mod operation {
    pub(super) const GET: u32 = 0;
    pub(super) const SET: u32 = 1;
    pub(super) const TOUCH: u32 = 2;
    pub(super) const DESTROY: u32 = 3;
    pub(super) const GET_TIMED: u32 = 4;
    pub(super) const SET_EXISTING: u32 = 5;
    pub(super) const SET_NEW: u32 = 6;
    pub(super) const SET_IF_EQUAL: u32 = 7;
    pub(super) const LENGTH: u32 = 8;
    pub(super) const CLEAR: u32 = 9;
    pub(super) const PAGE: u32 = 10;
    pub(super) const CLOSE: u32 = 11;
    pub(super) const ABORT: u32 = 12;
    pub(super) const SCRIPT: u32 = 13;
    pub(super) const DESTROY_IF_EQUAL: u32 = 14;
}

/// Decodes a batch. Returns the requests, and the number of the `available` bytes that they use. IDs, values and bases
/// follow one another in the bytes, in the order of the requests. A lifetime is in milliseconds, 0 for none; a page has
/// the number of its scan in its place, and an abort the request to stop. Returns `None` if the numbers are not a
/// valid batch.
pub(crate) fn decode(heads: &[f64], available: usize, count: u32) -> Option<(Vec<Request>, usize)> {
    let count = count as usize;
    let heads = heads.get(..count.checked_mul(FIELDS)?)?;
    let mut requests = Vec::with_capacity(count);
    let mut used = 0usize;
    for head in heads.chunks_exact(FIELDS) {
        let &[operation, request, id_bytes, value_bytes, base_bytes, ttl] = head else {
            return None;
        };
        // A cast from f64 saturates, so numbers out of range fail the checks below.
        let request = request as RequestId;
        let mut take = |length: f64| {
            let end = used.checked_add(length as usize)?;
            let range = used..end;
            used = end;
            (end <= available).then_some(range)
        };
        let (id, value, base) = (take(id_bytes)?, take(value_bytes)?, take(base_bytes)?);
        let is_traced = operation as u32 & TRACED != 0;
        let operation = match operation as u32 & !TRACED {
            operation::GET => Operation::Get(ReportEnd::IfChanged),
            operation::SET => Operation::Write(Write::Set),
            operation::TOUCH => Operation::Write(Write::Touch),
            operation::DESTROY => Operation::Write(Write::Destroy),
            operation::GET_TIMED => Operation::Get(ReportEnd::Always),
            operation::SET_EXISTING => Operation::Write(Write::SetExisting),
            operation::SET_NEW => Operation::Write(Write::SetNew),
            operation::SET_IF_EQUAL => Operation::Write(Write::SetIfEqual),
            operation::DESTROY_IF_EQUAL => Operation::Write(Write::DestroyIfEqual),
            other => {
                requests.push(match other {
                    operation::LENGTH | operation::CLEAR => Request::Bulk {
                        request,
                        bulk: match other {
                            operation::LENGTH => Bulk::Length,
                            _ => Bulk::Clear,
                        },
                        is_traced,
                    },
                    operation::PAGE => Request::Page {
                        request,
                        scan: ttl as ScanId,
                        is_traced,
                    },
                    operation::CLOSE => Request::Close(request),
                    operation::ABORT => Request::Abort(request, ttl as RequestId),
                    operation::SCRIPT => Request::Script(ScriptRequest {
                        request,
                        calls: value,
                        script: base,
                    }),
                    _ => return None,
                });
                continue;
            }
        };
        requests.push(Request::Session(SessionRequest {
            request,
            operation,
            is_traced,
            id,
            value,
            base,
            ttl: (ttl > 0.0).then_some(ttl as u64),
        }));
    }
    Some((requests, used))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decode_returns_the_requests_in_order() {
        let heads = [
            [0.0, 7.0, 3.0, 0.0, 0.0, 0.0],
            [65.0, 8.0, 2.0, 4.0, 0.0, 150.0],
            [7.0, 9.0, 1.0, 2.0, 3.0, 0.0],
            [8.0, 10.0, 0.0, 0.0, 0.0, 0.0],
            [74.0, 11.0, 0.0, 0.0, 0.0, 5.0],
            [12.0, 12.0, 0.0, 0.0, 0.0, 10.0],
        ];
        let (requests, used) = decode(heads.as_flattened(), 15, 6).expect("a batch");
        assert_eq!(used, 15);
        assert!(matches!(
            &requests[0],
            Request::Session(SessionRequest { request: 7, operation: Operation::Get(_), is_traced: false, id, ttl: None, .. })
                if *id == (0..3)
        ));
        assert!(matches!(
            &requests[1],
            Request::Session(SessionRequest { request: 8, operation: Operation::Write(Write::Set), is_traced: true, id, value, ttl: Some(150), .. })
                if *id == (3..5) && *value == (5..9)
        ));
        assert!(matches!(
            &requests[2],
            Request::Session(SessionRequest {
                request: 9,
                operation: Operation::Write(Write::SetIfEqual),
                is_traced: false,
                id,
                value,
                base,
                ttl: None,
            })
                if *id == (9..10) && *value == (10..12) && *base == (12..15)
        ));
        assert!(matches!(
            &requests[3],
            Request::Bulk {
                request: 10,
                bulk: Bulk::Length,
                is_traced: false
            }
        ));
        assert!(matches!(
            &requests[4],
            Request::Page {
                request: 11,
                scan: 5,
                is_traced: true
            }
        ));
        assert!(matches!(&requests[5], Request::Abort(12, 10)));
    }

    #[test]
    fn decode_rejects_numbers_that_are_no_batch() {
        assert!(decode(&[0.0; 6], 0, 2).is_none(), "too few heads");
        assert!(
            decode(&[0.0, 1.0, 5.0, 0.0, 0.0, 0.0], 4, 1).is_none(),
            "bytes beyond the end"
        );
        assert!(
            decode(&[0.0, 1.0, f64::INFINITY, f64::INFINITY, 0.0, 0.0], 4, 1).is_none(),
            "lengths that overflow"
        );
        assert!(
            decode(&[99.0, 1.0, 0.0, 0.0, 0.0, 0.0], 4, 1).is_none(),
            "an unknown operation"
        );
    }
}
