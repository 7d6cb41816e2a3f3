import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.Provider;
import java.security.cert.CertPathBuilder;
import java.security.cert.CertStore;
import java.security.cert.CollectionCertStoreParameters;
import java.security.cert.PKIXBuilderParameters;
import java.security.cert.TrustAnchor;
import java.security.cert.X509CertSelector;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.bouncycastle.asn1.ASN1ObjectIdentifier;
import org.bouncycastle.asn1.ASN1OctetString;
import org.bouncycastle.asn1.cmp.CMPObjectIdentifiers;
import org.bouncycastle.asn1.cmp.CertConfirmContent;
import org.bouncycastle.asn1.cmp.PBMParameter;
import org.bouncycastle.asn1.cmp.PKIFailureInfo;
import org.bouncycastle.asn1.cmp.PKIHeader;
import org.bouncycastle.asn1.cmp.PKIStatus;
import org.bouncycastle.asn1.crmf.CertReqMsg;
import org.bouncycastle.asn1.pkcs.PBKDF2Params;
import org.bouncycastle.asn1.pkcs.PBMAC1Params;
import org.bouncycastle.asn1.pkcs.PKCSObjectIdentifiers;
import org.bouncycastle.asn1.x500.X500Name;
import org.bouncycastle.asn1.x509.AlgorithmIdentifier;
import org.bouncycastle.asn1.x509.Extension;
import org.bouncycastle.asn1.x509.GeneralName;
import org.bouncycastle.asn1.x509.KeyUsage;
import org.bouncycastle.asn1.x509.SubjectPublicKeyInfo;
import org.bouncycastle.cert.X509CertificateHolder;
import org.bouncycastle.cert.cmp.CMPException;
import org.bouncycastle.cert.cmp.CertificateConfirmationContent;
import org.bouncycastle.cert.cmp.CertificateStatus;
import org.bouncycastle.cert.cmp.ProtectedPKIMessage;
import org.bouncycastle.cert.crmf.CRMFException;
import org.bouncycastle.cert.crmf.CertificateRequestMessage;
import org.bouncycastle.cert.crmf.PKMACBuilder;
import org.bouncycastle.cert.crmf.jcajce.JcePKMACValuesCalculator;
import org.bouncycastle.cert.jcajce.JcaX509CertificateConverter;
import org.bouncycastle.operator.ContentVerifierProvider;
import org.bouncycastle.operator.MacCalculator;
import org.bouncycastle.operator.OperatorCreationException;
import org.bouncycastle.operator.PBEMacCalculatorProvider;
import org.bouncycastle.operator.jcajce.JcaContentVerifierProviderBuilder;
import org.bouncycastle.operator.jcajce.JcaDigestCalculatorProviderBuilder;
import org.bouncycastle.pkcs.PKCS10CertificationRequest;
import org.bouncycastle.pkcs.PKCSException;
import org.bouncycastle.pkcs.jcajce.JcePBMac1CalculatorBuilder;

/** Everything that is verified, and all of it by Bouncy Castle's own code. What was found goes into a journal entry. */
final class Judge {
    private static final int MAXIMUM_ITERATIONS = 1_000_000;

    /** Who protected a request: one who knows a secret, or one who has a certificate. */
    record Requester(
            AlgorithmIdentifier algorithm, byte[] reference, char[] secret, X509CertificateHolder certificate) {
        boolean hasSecret() {
            return secret != null;
        }

        boolean sameAs(Requester other) {
            return hasSecret()
                    ? other.hasSecret() && Arrays.equals(reference, other.reference)
                    : certificate.equals(other.certificate);
        }
    }

    private final Provider provider;
    private final Map<String, char[]> secrets;
    private final Set<TrustAnchor> anchors;

    Judge(Provider provider, Map<String, char[]> secrets, List<X509CertificateHolder> roots)
            throws GeneralSecurityException {
        this.provider = provider;
        this.secrets = secrets;
        this.anchors = new HashSet<>();
        for (X509CertificateHolder root : roots) {
            anchors.add(new TrustAnchor(forJava(root), null));
        }
    }

    /** Find out who protected the message, and that it arrived as he made it. */
    Requester requester(ProtectedPKIMessage message, Map<String, Object> entry) throws Refusal {
        AlgorithmIdentifier algorithm = message.getHeader().getProtectionAlg();
        ASN1ObjectIdentifier kind = algorithm.getAlgorithm();
        if (kind.equals(CMPObjectIdentifiers.passwordBasedMac) || kind.equals(PKCSObjectIdentifiers.id_PBMAC1)) {
            return holderOfSecret(message, algorithm, entry);
        }
        return holderOfCertificate(message, algorithm, entry);
    }

    private Requester holderOfSecret(
            ProtectedPKIMessage message, AlgorithmIdentifier algorithm, Map<String, Object> entry) throws Refusal {
        describeMac(algorithm, entry);
        ASN1OctetString kid = message.getHeader().getSenderKID();
        byte[] reference = kid == null ? new byte[0] : kid.getOctets();
        char[] secret = secrets.get(new String(reference, StandardCharsets.UTF_8));
        if (secret == null) {
            throw new Refusal(PKIFailureInfo.badMessageCheck, "no secret has this reference");
        }
        boolean valid;
        try {
            valid = message.verify(calculators(algorithm), secret);
        } catch (CMPException | RuntimeException error) {
            throw new Refusal(PKIFailureInfo.badMessageCheck, "the MAC cannot be computed", error);
        }
        entry.put("protection_valid", valid);
        if (!valid) {
            throw new Refusal(PKIFailureInfo.badMessageCheck, "the MAC is wrong");
        }
        return new Requester(algorithm, reference, secret, null);
    }

    private PBEMacCalculatorProvider calculators(AlgorithmIdentifier algorithm) {
        return algorithm.getAlgorithm().equals(CMPObjectIdentifiers.passwordBasedMac)
                ? new PKMACBuilder(new JcePKMACValuesCalculator().setProvider(provider), MAXIMUM_ITERATIONS)
                : (identifier, secret) ->
                        pbmac1(provider, PBMAC1Params.getInstance(identifier.getParameters()), secret);
    }

    /** The library reads all parameters but the pseudorandom function, for which it always takes HMAC-SHA256. */
    static MacCalculator pbmac1(Provider provider, PBMAC1Params parameters, char[] secret)
            throws OperatorCreationException {
        PBKDF2Params derivation = PBKDF2Params.getInstance(parameters.getKeyDerivationFunc().getParameters());
        return new JcePBMac1CalculatorBuilder(parameters)
                .setPrf(derivation.getPrf())
                .setProvider(provider)
                .build(secret);
    }

    private static void describeMac(AlgorithmIdentifier algorithm, Map<String, Object> entry) throws Refusal {
        try {
            if (algorithm.getAlgorithm().equals(CMPObjectIdentifiers.passwordBasedMac)) {
                PBMParameter parameters = PBMParameter.getInstance(algorithm.getParameters());
                entry.put("protection", "PasswordBasedMac");
                entry.put("one_way_function", parameters.getOwf().getAlgorithm().getId());
                entry.put("mac", parameters.getMac().getAlgorithm().getId());
            } else {
                PBMAC1Params parameters = PBMAC1Params.getInstance(algorithm.getParameters());
                PBKDF2Params derivation = PBKDF2Params.getInstance(parameters.getKeyDerivationFunc().getParameters());
                entry.put("protection", "PBMAC1");
                entry.put("one_way_function", derivation.getPrf().getAlgorithm().getId());
                entry.put("mac", parameters.getMessageAuthScheme().getAlgorithm().getId());
            }
        } catch (RuntimeException error) {
            throw new Refusal(PKIFailureInfo.badDataFormat, "the parameters of the MAC cannot be read", error);
        }
    }

    private Requester holderOfCertificate(
            ProtectedPKIMessage message, AlgorithmIdentifier algorithm, Map<String, Object> entry) throws Refusal {
        entry.put("protection", "signature");
        entry.put("signature", algorithm.getAlgorithm().getId());
        X509CertificateHolder[] certificates = message.getCertificates();
        if (certificates.length == 0) {
            throw new Refusal(PKIFailureInfo.badMessageCheck, "the signer's certificate did not come along");
        }
        X509CertificateHolder own = certificates[0];
        entry.put("signer", own.getSubject().toString());
        boolean valid;
        try {
            valid = message.verify(verifiers(own.getSubjectPublicKeyInfo()));
        } catch (CMPException | RuntimeException error) {
            throw new Refusal(PKIFailureInfo.badMessageCheck, "the signature cannot be verified", error);
        }
        entry.put("protection_valid", valid);
        if (!valid) {
            throw new Refusal(PKIFailureInfo.badMessageCheck, "the signature is wrong");
        }
        checkSender(message.getHeader(), own);
        checkPath(own, List.of(certificates), entry);
        return new Requester(algorithm, null, null, own);
    }

    private static void checkSender(PKIHeader header, X509CertificateHolder own) throws Refusal {
        GeneralName sender = header.getSender();
        boolean same = sender.getTagNo() == GeneralName.directoryName
                && X500Name.getInstance(sender.getName()).equals(own.getSubject());
        if (!same) {
            throw new Refusal(PKIFailureInfo.badMessageCheck, "the sender is not the subject of the certificate");
        }
        Extension usage = own.getExtension(Extension.keyUsage);
        if (usage != null && !KeyUsage.getInstance(usage.getParsedValue()).hasUsages(KeyUsage.digitalSignature)) {
            throw new Refusal(PKIFailureInfo.badMessageCheck, "the certificate is not for digital signatures");
        }
    }

    /** Let Bouncy Castle build and validate a path (RFC 5280 section 6) from the certificate to one of our roots. */
    private void checkPath(X509CertificateHolder own, List<X509CertificateHolder> all, Map<String, Object> entry)
            throws Refusal {
        try {
            List<X509Certificate> pool = new ArrayList<>();
            for (X509CertificateHolder one : all) {
                pool.add(forJava(one));
            }
            X509CertSelector wanted = new X509CertSelector();
            wanted.setCertificate(pool.get(0));
            PKIXBuilderParameters parameters = new PKIXBuilderParameters(anchors, wanted);
            parameters.addCertStore(
                    CertStore.getInstance("Collection", new CollectionCertStoreParameters(pool), provider));
            parameters.setRevocationEnabled(false); // nobody here publishes CRLs; what we revoked ourselves we know
            int length = CertPathBuilder.getInstance("PKIX", provider)
                    .build(parameters)
                    .getCertPath()
                    .getCertificates()
                    .size();
            entry.put("path_length", length);
        } catch (GeneralSecurityException error) {
            entry.put("path_length", 0);
            throw new Refusal(PKIFailureInfo.signerNotTrusted, "no path leads from the certificate to a root", error);
        }
    }

    /** Demand that the sender of a CRMF request holds the private key it asks a certificate for. */
    void possession(CertReqMsg request, Map<String, Object> entry) throws Refusal {
        CertificateRequestMessage message = new CertificateRequestMessage(request);
        entry.put("possession", "crmf");
        if (message.getProofOfPossessionType() != CertificateRequestMessage.popSigningKey) {
            throw new Refusal(PKIFailureInfo.badPOP, "only a signature proves possession here");
        }
        boolean valid;
        try {
            valid = message.isValidSigningKeyPOP(verifiers(message.getCertTemplate().getPublicKey()));
        } catch (CRMFException | RuntimeException error) {
            throw new Refusal(PKIFailureInfo.badPOP, "the proof of possession cannot be verified", error);
        }
        entry.put("possession_valid", valid);
        if (!valid) {
            throw new Refusal(PKIFailureInfo.badPOP, "the proof of possession is wrong");
        }
    }

    /** The same for PKCS#10. */
    void possession(PKCS10CertificationRequest request, Map<String, Object> entry) throws Refusal {
        entry.put("possession", "pkcs10");
        boolean valid;
        try {
            valid = request.isSignatureValid(verifiers(request.getSubjectPublicKeyInfo()));
        } catch (PKCSException | RuntimeException error) {
            throw new Refusal(PKIFailureInfo.badPOP, "the signature of the PKCS#10 request cannot be verified", error);
        }
        entry.put("possession_valid", valid);
        if (!valid) {
            throw new Refusal(PKIFailureInfo.badPOP, "the signature of the PKCS#10 request is wrong");
        }
    }

    /** Compare certHash with the certificate we issued; tell whether the client took the certificate. */
    boolean confirmation(
            CertConfirmContent content, int requestId, X509CertificateHolder issued, Map<String, Object> entry)
            throws Refusal {
        CertificateStatus[] statuses = new CertificateConfirmationContent(content).getStatusMessages();
        if (statuses.length != 1 || statuses[0].getCertRequestID().intValue() != requestId) {
            throw new Refusal(PKIFailureInfo.badRequest, "the confirmation is not about the one certificate issued");
        }
        boolean valid;
        try {
            valid = statuses[0].isVerified(
                    issued, new JcaDigestCalculatorProviderBuilder().setProvider(provider).build());
        } catch (CMPException | OperatorCreationException error) {
            throw new Refusal(PKIFailureInfo.systemFailure, "certHash cannot be computed", error);
        }
        entry.put("certificate_hash_valid", valid);
        if (!valid) {
            throw new Refusal(PKIFailureInfo.badCertId, "certHash is not that of the certificate issued");
        }
        return statuses[0].getStatusInfo() == null
                || statuses[0].getStatusInfo().getStatus().intValue() == PKIStatus.GRANTED;
    }

    private ContentVerifierProvider verifiers(SubjectPublicKeyInfo key) throws Refusal {
        try {
            return new JcaContentVerifierProviderBuilder().setProvider(provider).build(key);
        } catch (OperatorCreationException | RuntimeException error) {
            throw new Refusal(PKIFailureInfo.badAlg, "the public key cannot be used", error);
        }
    }

    private X509Certificate forJava(X509CertificateHolder certificate) throws GeneralSecurityException {
        return new JcaX509CertificateConverter().setProvider(provider).getCertificate(certificate);
    }
}
