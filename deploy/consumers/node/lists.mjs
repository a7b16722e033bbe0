// Follows nextclick's lists with KafkaJS: a JSON line for each list that is news to its session.
//
// usage: node lists.mjs BROKERS TOPIC GROUP      needs: npm ci
//
// Lists come at least once, so again after a restart of a worker or of this program. A session is no
// news when its newest list is as new: `event_id` is partition and offset of the list's event.
// What keeps the lists (a table, a cache) has to compare in the same way, since memory ends with the process.

import kafkajs from "kafkajs";
import lz4 from "lz4js";

const { CompressionCodecs, CompressionTypes, Kafka, logLevel } = kafkajs;
// Lists are lz4, which KafkaJS reads by a codec of one's choice.
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: async (encoder) => Buffer.from(lz4.compress(encoder.buffer)),
  decompress: async (buffer) => Buffer.from(lz4.decompress(buffer)),
});

const SESSIONS = 100_000; // remembered; older ones are forgotten
const newest = new Map(); // session → the event of its newest list

function take(sessionId, eventId) {
  const [partition, offset] = eventId.split("-").map(BigInt);
  const before = newest.get(sessionId);
  if (before && before.partition === partition && before.offset >= offset) return false;
  newest.delete(sessionId); // so that it goes to the end
  newest.set(sessionId, { partition, offset });
  if (newest.size > SESSIONS) newest.delete(newest.keys().next().value);
  return true;
}

const [brokers, topic, groupId] = process.argv.slice(2);
const kafka = new Kafka({ brokers: brokers.split(","), logLevel: logLevel.ERROR });
const consumer = kafka.consumer({ groupId, maxWaitTimeInMs: 500 }); // a stop waits for the fetch under way

let stopping = false;
async function stop(code) {
  if (stopping) return;
  stopping = true;
  await consumer.disconnect();
  process.exitCode = code;
}
for (const signal of ["SIGTERM", "SIGINT"]) process.once(signal, () => stop(0));
// What KafkaJS cannot retry ends the program; what was not committed is read again.
consumer.on(consumer.events.CRASH, ({ payload }) => payload.restart || stop(1));

await consumer.connect();
await consumer.subscribe({ topic, fromBeginning: true });
// A batch is committed when all of it was shown: what a crash interrupts is read again.
await consumer.run({
  eachMessage: async ({ message: { headers, value } }) => {
    const shown = JSON.parse(value.toString());
    if (!take(shown.session_id, shown.event_id)) return;
    const line = {
      session_id: shown.session_id,
      event_id: shown.event_id,
      model: headers.model.toString(),
      // Absent when the model stepped: else why the list is another, such as POP's.
      fallback: headers.fallback?.toString() ?? null,
      items: shown.items,
    };
    process.stdout.write(`${JSON.stringify(line)}\n`);
  },
});
