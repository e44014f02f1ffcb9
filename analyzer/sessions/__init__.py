"""Records to "who was this, and what did it do".

In: batches of protocol records. Out: sessions with identity and evidence, trees, opens, calls, as columns of numbers
(`reducer.Reduced`). `pairing` joins requests and answers, `setups` joins the legs of a login, `identity` weighs what is
known of it by a table, `reducer` keeps the state of sessions, trees and files between windows. `lookup`, `pairing`,
`proofs` and `uses` hold the kernels that work off one message after the other. Never sees a packet, never sees a
DataFrame.

Time and order. Within a connection everything is ordered by the client's requests; an answer belongs to its request.
That order does not change when a capture holds the segments of one direction late or twice. What a request means is
looked up as of its place: the tree, the file, the identity that was the last to be established before it.
"""
