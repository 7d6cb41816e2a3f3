import java.io.IOException;
import java.math.BigInteger;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.PrivateKey;
import java.security.Provider;
import java.security.SecureRandom;
import java.security.spec.ECGenParameterSpec;
import java.time.Duration;
import java.time.Instant;
import java.util.Date;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.bouncycastle.asn1.ASN1ObjectIdentifier;
import org.bouncycastle.asn1.crmf.CertId;
import org.bouncycastle.asn1.x500.X500Name;
import org.bouncycastle.asn1.x509.BasicConstraints;
import org.bouncycastle.asn1.x509.ExtendedKeyUsage;
import org.bouncycastle.asn1.x509.Extension;
import org.bouncycastle.asn1.x509.Extensions;
import org.bouncycastle.asn1.x509.GeneralName;
import org.bouncycastle.asn1.x509.KeyPurposeId;
import org.bouncycastle.asn1.x509.KeyUsage;
import org.bouncycastle.asn1.x509.SubjectPublicKeyInfo;
import org.bouncycastle.cert.X509CertificateHolder;
import org.bouncycastle.cert.X509v3CertificateBuilder;
import org.bouncycastle.cert.jcajce.JcaX509ExtensionUtils;
import org.bouncycastle.operator.ContentSigner;
import org.bouncycastle.operator.OperatorCreationException;
import org.bouncycastle.operator.jcajce.JcaContentSignerBuilder;
import org.bouncycastle.util.io.pem.PemObject;
import org.bouncycastle.util.io.pem.PemWriter;

/** The root and the RA below it, and the certificates they gave out. */
final class Office {
    private static final Duration LIFE = Duration.ofDays(90);
    private static final KeyPurposeId CMC_RA =
            KeyPurposeId.getInstance(new ASN1ObjectIdentifier("1.3.6.1.5.5.7.3.28"));
    /** What a request may ask for; everything else in a certificate is ours to decide. */
    private static final List<ASN1ObjectIdentifier> GRANTED =
            List.of(Extension.subjectAlternativeName, Extension.keyUsage, Extension.extendedKeyUsage);

    /** A key that protects messages, and its certificate. */
    record Authority(PrivateKey key, X509CertificateHolder certificate) {}

    final Authority root;
    final Authority registration;
    private final Provider provider;
    private final SecureRandom random = new SecureRandom();
    private final Map<BigInteger, X509CertificateHolder> issued = new HashMap<>();
    private final Set<X509CertificateHolder> revoked = new HashSet<>();

    Office(Provider provider) throws GeneralSecurityException, IOException, OperatorCreationException {
        this.provider = provider;
        X500Name name = new X500Name("CN=Bouncy Castle root,O=Operator");
        KeyPair pair = pair();
        SubjectPublicKeyInfo key = SubjectPublicKeyInfo.getInstance(pair.getPublic().getEncoded());
        X509v3CertificateBuilder self = builder(name, name, key);
        self.addExtension(Extension.basicConstraints, true, new BasicConstraints(true));
        self.addExtension(
                Extension.keyUsage,
                true,
                new KeyUsage(KeyUsage.keyCertSign | KeyUsage.cRLSign | KeyUsage.digitalSignature));
        self.addExtension(Extension.subjectKeyIdentifier, false, identifiers().createSubjectKeyIdentifier(key));
        root = new Authority(pair.getPrivate(), self.build(signer(pair.getPrivate())));
        registration = registration();
    }

    /** Issue a certificate for what was asked: subject, key, and of the extensions those that we grant. */
    X509CertificateHolder issue(X500Name subject, SubjectPublicKeyInfo key, Extensions wanted)
            throws GeneralSecurityException, IOException, OperatorCreationException {
        X509v3CertificateBuilder builder = below(subject, key);
        for (ASN1ObjectIdentifier kind : GRANTED) {
            Extension extension = wanted == null ? null : wanted.getExtension(kind);
            if (extension != null) {
                builder.addExtension(extension);
            }
        }
        X509CertificateHolder certificate = builder.build(signer(root.key));
        issued.put(certificate.getSerialNumber(), certificate);
        return certificate;
    }

    /** Return the certificate of this name if we issued it and it is not revoked, or null. */
    X509CertificateHolder valid(CertId id) {
        boolean issuedHere = id.getIssuer().getTagNo() == GeneralName.directoryName
                && X500Name.getInstance(id.getIssuer().getName()).equals(root.certificate.getSubject());
        X509CertificateHolder certificate = issued.get(id.getSerialNumber().getValue());
        return issuedHere && !isRevoked(certificate) ? certificate : null;
    }

    void revoke(X509CertificateHolder certificate) {
        revoked.add(certificate);
    }

    boolean isRevoked(X509CertificateHolder certificate) {
        return revoked.contains(certificate);
    }

    ContentSigner signer(PrivateKey key) throws OperatorCreationException {
        return new JcaContentSignerBuilder("SHA256withECDSA").setProvider(provider).build(key);
    }

    void writeRoot(Path file) throws IOException {
        try (PemWriter writer = new PemWriter(Files.newBufferedWriter(file))) {
            writer.writeObject(new PemObject("CERTIFICATE", root.certificate.getEncoded()));
        }
    }

    private Authority registration() throws GeneralSecurityException, IOException, OperatorCreationException {
        KeyPair pair = pair();
        SubjectPublicKeyInfo key = SubjectPublicKeyInfo.getInstance(pair.getPublic().getEncoded());
        X509v3CertificateBuilder builder = below(new X500Name("CN=Bouncy Castle RA,O=Operator"), key);
        builder.addExtension(Extension.keyUsage, true, new KeyUsage(KeyUsage.digitalSignature));
        builder.addExtension(Extension.extendedKeyUsage, false, new ExtendedKeyUsage(CMC_RA));
        return new Authority(pair.getPrivate(), builder.build(signer(root.key)));
    }

    /** Start a certificate of an end entity. */
    private X509v3CertificateBuilder below(X500Name subject, SubjectPublicKeyInfo key)
            throws GeneralSecurityException, IOException {
        X509v3CertificateBuilder builder = builder(root.certificate.getSubject(), subject, key);
        builder.addExtension(Extension.basicConstraints, true, new BasicConstraints(false));
        builder.addExtension(Extension.subjectKeyIdentifier, false, identifiers().createSubjectKeyIdentifier(key));
        builder.addExtension(
                Extension.authorityKeyIdentifier, false, identifiers().createAuthorityKeyIdentifier(root.certificate));
        return builder;
    }

    private X509v3CertificateBuilder builder(X500Name issuer, X500Name subject, SubjectPublicKeyInfo key) {
        BigInteger serial = new BigInteger(64, random).setBit(64);
        Instant now = Instant.now();
        return new X509v3CertificateBuilder(
                issuer, serial, Date.from(now.minusSeconds(60)), Date.from(now.plus(LIFE)), subject, key);
    }

    private KeyPair pair() throws GeneralSecurityException {
        KeyPairGenerator generator = KeyPairGenerator.getInstance("EC", provider);
        generator.initialize(new ECGenParameterSpec("secp256r1"), random);
        return generator.generateKeyPair();
    }

    private static JcaX509ExtensionUtils identifiers() throws GeneralSecurityException {
        return new JcaX509ExtensionUtils();
    }
}
