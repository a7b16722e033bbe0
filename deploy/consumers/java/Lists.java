import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Follows nextclick's lists with Kafka's own client: a JSON line for each list that is news to its session.
 *
 * <p>usage: java -cp JARS Lists.java BROKERS TOPIC GROUP, where JARS has kafka-clients, lz4-java, slf4j-api and
 * jackson-databind (deploy/kafka.sh keeps them in ~/.cache/nextclick/kafka-VERSION).
 *
 * <p>Lists come at least once, so again after a restart of a worker or of this program. A session is no news
 * when its newest list is as new: event_id is partition and offset of the list's event. What keeps the lists
 * (a table, a cache) has to compare in the same way, since memory ends with the process.
 */
public final class Lists {
    private static final int SESSIONS = 100_000; // remembered; older ones are forgotten
    private static final ObjectMapper JSON = new ObjectMapper();

    /** The event of each session's newest list. */
    private record Event(int partition, long offset) {
        static Event of(String eventId) {
            int dash = eventId.indexOf('-');
            return new Event(Integer.parseInt(eventId.substring(0, dash)), Long.parseLong(eventId.substring(dash + 1)));
        }
    }

    private final Map<String, Event> newest =
            new LinkedHashMap<>(16, 0.75f, true) {
                @Override
                protected boolean removeEldestEntry(Map.Entry<String, Event> eldest) {
                    return size() > SESSIONS;
                }
            };

    private boolean take(String sessionId, Event event) {
        Event before = newest.get(sessionId);
        if (before != null && before.partition() == event.partition() && before.offset() >= event.offset()) {
            return false;
        }
        newest.put(sessionId, event);
        return true;
    }

    private void show(ConsumerRecord<byte[], byte[]> record) throws java.io.IOException {
        JsonNode shown = JSON.readTree(record.value());
        String sessionId = shown.required("session_id").textValue();
        String eventId = shown.required("event_id").textValue();
        if (!take(sessionId, Event.of(eventId))) {
            return;
        }
        ObjectNode line = JSON.createObjectNode();
        line.put("session_id", sessionId);
        line.put("event_id", eventId);
        line.put("model", text(record, "model"));
        // Absent when the model stepped: else why the list is another, such as POP's.
        line.put("fallback", text(record, "fallback"));
        line.set("items", shown.required("items"));
        System.out.println(line);
    }

    private static String text(ConsumerRecord<byte[], byte[]> record, String name) {
        Header header = record.headers().lastHeader(name);
        return header == null ? null : new String(header.value(), StandardCharsets.UTF_8);
    }

    public static void main(String[] arguments) throws Exception {
        Properties properties = new Properties();
        properties.put(ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, arguments[0]);
        properties.put(ConsumerConfig.GROUP_ID_CONFIG, arguments[2]);
        properties.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
        properties.put(ConsumerConfig.ENABLE_AUTO_COMMIT_CONFIG, false);
        Lists lists = new Lists();
        Thread reading = Thread.currentThread();
        try (var consumer =
                new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            Runtime.getRuntime()
                    .addShutdownHook(
                            new Thread(
                                    () -> {
                                        consumer.wakeup();
                                        try {
                                            reading.join();
                                        } catch (InterruptedException interrupted) {
                                            Thread.currentThread().interrupt();
                                        }
                                    }));
            consumer.subscribe(List.of(arguments[1]));
            while (true) {
                ConsumerRecords<byte[], byte[]> records = consumer.poll(Duration.ofMillis(500));
                for (ConsumerRecord<byte[], byte[]> record : records) {
                    lists.show(record);
                }
                if (!records.isEmpty()) {
                    // Only now is it done: what a crash interrupts is read again.
                    System.out.flush();
                    consumer.commitSync();
                }
            }
        } catch (WakeupException stopped) {
            System.out.flush(); // SIGTERM or Ctrl-C; the group is left in peace
        }
    }
}
