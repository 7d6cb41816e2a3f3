/** A request that is not granted, with the PKIFailureInfo bit to tell the client. */
final class Refusal extends Exception {
    private static final long serialVersionUID = 1L;

    /** A constant of Bouncy Castle's PKIFailureInfo. */
    final int failure;

    Refusal(int failure, String reason) {
        super(reason);
        this.failure = failure;
    }

    Refusal(int failure, String reason, Exception cause) {
        super(reason + " (" + cause + ")", cause);
        this.failure = failure;
    }
}
