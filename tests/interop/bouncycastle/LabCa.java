import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.FileReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.Reader;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.file.Path;
import java.security.Provider;
import java.util.List;
import java.util.Map;
import org.bouncycastle.cert.X509CertificateHolder;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.util.io.pem.PemReader;

/**
 * A small CMP CA on loopback for the tests of another implementation: every MAC, signature, path, proof of possession
 * and certHash is verified, and every answer and certificate made, by Bouncy Castle.
 *
 * <p>Arguments: a directory (root.pem is written there), a reference and its secret, and a PEM file with the root of a
 * device vendor. The first line on standard output names the port; each further one says what was found in a request.
 * The program ends when its standard input does.
 *
 * <p>The path of the URL is the name of a test, which the journal repeats, and then options: see {@link Options}.
 */
public final class LabCa {
    private static final int MAXIMUM_REQUEST = 1 << 20;
    private static final int OK = 200;
    private static final int REQUEST_TOO_LARGE = 413;

    private LabCa() {}

    public static void main(String[] arguments) throws Exception {
        System.setProperty("sun.net.httpserver.nodelay", "true"); // head and body go out in two writes
        Path directory = Path.of(arguments[0]);
        Map<String, char[]> secrets = Map.of(arguments[1], arguments[2].toCharArray());
        Provider provider = new BouncyCastleProvider();
        Office office = new Office(provider);
        office.writeRoot(directory.resolve("root.pem"));
        List<X509CertificateHolder> roots = List.of(office.root.certificate(), certificate(arguments[3]));
        Journal journal = new Journal(System.out);
        Desk desk = new Desk(office, new Judge(provider, secrets, roots), new Seal(provider), journal);

        // One thread serves all: requests come one by one, and nothing needs a lock.
        HttpServer server = HttpServer.create(new InetSocketAddress(InetAddress.getByName("127.0.0.1"), 0), 0);
        server.createContext("/", exchange -> serve(exchange, desk));
        server.start();
        Map<String, Object> ready = Journal.entry();
        ready.put("port", server.getAddress().getPort());
        ready.put("bouncy_castle", provider.getVersionStr());
        journal.write(ready);
        endWithInput();
    }

    private static void serve(HttpExchange exchange, Desk desk) throws IOException {
        try (exchange) {
            byte[] request = exchange.getRequestBody().readNBytes(MAXIMUM_REQUEST + 1);
            if (request.length > MAXIMUM_REQUEST) {
                exchange.sendResponseHeaders(REQUEST_TOO_LARGE, -1);
                return;
            }
            byte[] answer = desk.answer(request, Options.of(exchange.getRequestURI().getPath()));
            exchange.getResponseHeaders().set("Content-Type", "application/pkixcmp");
            exchange.sendResponseHeaders(OK, answer.length);
            exchange.getResponseBody().write(answer);
        } catch (Exception error) {
            error.printStackTrace(); // a defect here: the client sees a broken connection, the test this trace
            throw new IOException(error);
        }
    }

    private static X509CertificateHolder certificate(String file) throws IOException {
        try (Reader reader = new FileReader(file); PemReader pem = new PemReader(reader)) {
            return new X509CertificateHolder(pem.readPemObject().getContent());
        }
    }

    /** Whoever started us holds the other end: it goes away with him, however he ends. */
    private static void endWithInput() throws IOException {
        InputStream input = System.in;
        while (input.read() >= 0) {
            continue;
        }
        System.exit(0);
    }
}
