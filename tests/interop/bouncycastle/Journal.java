import java.io.PrintStream;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.stream.Collectors;

/** What was found, as JSON lines on standard output. A line is out before the answer it belongs to is sent. */
final class Journal {
    private final PrintStream out;

    Journal(PrintStream out) {
        this.out = out;
    }

    /** Start an entry; keys keep their order. */
    static Map<String, Object> entry() {
        return new LinkedHashMap<>();
    }

    synchronized void write(Map<String, Object> entry) {
        out.println(json(entry));
        out.flush();
    }

    private static String json(Object value) {
        if (value == null || value instanceof Boolean || value instanceof Integer) {
            return String.valueOf(value);
        }
        if (value instanceof Map<?, ?> map) {
            return map.entrySet().stream()
                    .map(one -> json(one.getKey()) + ": " + json(one.getValue()))
                    .collect(Collectors.joining(", ", "{", "}"));
        }
        if (value instanceof Collection<?> many) {
            return many.stream().map(Journal::json).collect(Collectors.joining(", ", "[", "]"));
        }
        return quoted(value.toString());
    }

    private static String quoted(String text) {
        StringBuilder quoted = new StringBuilder("\"");
        for (char letter : text.toCharArray()) {
            if (letter == '"' || letter == '\\') {
                quoted.append('\\').append(letter);
            } else if (letter < ' ' || letter > '~') {
                quoted.append(String.format("\\u%04x", (int) letter));
            } else {
                quoted.append(letter);
            }
        }
        return quoted.append('"').toString();
    }
}
