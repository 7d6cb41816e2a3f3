import java.util.Arrays;
import java.util.List;

/**
 * How to answer what comes to one URL: {@code /NAME/polls=2/signed}.
 *
 * <ul>
 *   <li>{@code polls=N}: say "waiting", and "not yet" to N pollReq
 *   <li>{@code signed}: sign answers to MAC-protected requests too
 *   <li>{@code ra}: sign with the RA's certificate (cmcRA) instead of the root's
 *   <li>{@code own-mac}: answer with the parameters Bouncy Castle takes when it is told none
 *   <li>{@code implicit}: grant implicit confirmation to whoever asks
 * </ul>
 */
record Options(String test, int polls, boolean signed, boolean ra, boolean ownMac, boolean implicit) {
    private static final String POLLS = "polls=";

    static Options of(String path) {
        List<String> parts = Arrays.asList(path.split("/"));
        int polls = parts.stream()
                .filter(one -> one.startsWith(POLLS))
                .mapToInt(one -> Integer.parseInt(one.substring(POLLS.length())))
                .findFirst()
                .orElse(0);
        return new Options(
                parts.size() > 1 ? parts.get(1) : "",
                polls,
                parts.contains("signed"),
                parts.contains("ra"),
                parts.contains("own-mac"),
                parts.contains("implicit"));
    }
}
