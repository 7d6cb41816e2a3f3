import java.security.Provider;
import java.security.SecureRandom;
import org.bouncycastle.asn1.cmp.CMPObjectIdentifiers;
import org.bouncycastle.asn1.cmp.PBMParameter;
import org.bouncycastle.asn1.pkcs.PBKDF2Params;
import org.bouncycastle.asn1.pkcs.PBMAC1Params;
import org.bouncycastle.asn1.pkcs.PKCSObjectIdentifiers;
import org.bouncycastle.asn1.x509.AlgorithmIdentifier;
import org.bouncycastle.asn1.x509.Extension;
import org.bouncycastle.asn1.x509.SubjectKeyIdentifier;
import org.bouncycastle.cert.X509CertificateHolder;
import org.bouncycastle.cert.cmp.CMPException;
import org.bouncycastle.cert.cmp.ProtectedPKIMessage;
import org.bouncycastle.cert.cmp.ProtectedPKIMessageBuilder;
import org.bouncycastle.cert.crmf.CRMFException;
import org.bouncycastle.cert.crmf.PKMACBuilder;
import org.bouncycastle.cert.crmf.jcajce.JcePKMACValuesCalculator;
import org.bouncycastle.operator.MacCalculator;
import org.bouncycastle.operator.OperatorCreationException;

/** Protects our answers: with the secret of the request, or with the key of an authority. */
final class Seal {
    private static final int SALT_LENGTH = 16;

    private final Provider provider;
    private final SecureRandom random = new SecureRandom();

    Seal(Provider provider) {
        this.provider = provider;
    }

    ProtectedPKIMessage byAuthority(ProtectedPKIMessageBuilder message, Office office, Office.Authority authority)
            throws CMPException, OperatorCreationException {
        X509CertificateHolder certificate = authority.certificate();
        Extension identifier = certificate.getExtension(Extension.subjectKeyIdentifier);
        message.setSenderKID(SubjectKeyIdentifier.getInstance(identifier.getParsedValue()).getKeyIdentifier());
        message.addCMPCertificate(certificate);
        return message.build(office.signer(authority.key()));
    }

    /** The parameters are those of the request with a salt of our own, or with {@code ownDefaults} the library's. */
    ProtectedPKIMessage bySecret(
            ProtectedPKIMessageBuilder message, Judge.Requester requester, boolean ownDefaults)
            throws CMPException, OperatorCreationException {
        message.setSenderKID(requester.reference());
        try {
            boolean passwordBased =
                    requester.algorithm().getAlgorithm().equals(CMPObjectIdentifiers.passwordBasedMac);
            return message.build(passwordBased ? passwordBasedMac(requester, ownDefaults) : pbmac1(requester));
        } catch (CRMFException error) {
            throw new CMPException("no MAC can be made", error);
        }
    }

    private MacCalculator passwordBasedMac(Judge.Requester requester, boolean ownDefaults) throws CRMFException {
        PKMACBuilder builder = new PKMACBuilder(new JcePKMACValuesCalculator().setProvider(provider));
        if (!ownDefaults) {
            PBMParameter theirs = PBMParameter.getInstance(requester.algorithm().getParameters());
            builder.setParameters(new PBMParameter(
                    salt(), theirs.getOwf(), theirs.getIterationCount().intValueExact(), theirs.getMac()));
        }
        return builder.build(requester.secret());
    }

    /** The library names the key derivation function of PBMAC1 by the OID of PBES2: whoever reads it must bear that. */
    private MacCalculator pbmac1(Judge.Requester requester) throws OperatorCreationException {
        PBMAC1Params theirs = PBMAC1Params.getInstance(requester.algorithm().getParameters());
        PBKDF2Params derivation = PBKDF2Params.getInstance(theirs.getKeyDerivationFunc().getParameters());
        PBKDF2Params ours = new PBKDF2Params(
                salt(),
                derivation.getIterationCount().intValueExact(),
                derivation.getKeyLength().intValueExact(),
                derivation.getPrf());
        AlgorithmIdentifier function = new AlgorithmIdentifier(PKCSObjectIdentifiers.id_PBKDF2, ours);
        return Judge.pbmac1(provider, new PBMAC1Params(function, theirs.getMessageAuthScheme()), requester.secret());
    }

    private byte[] salt() {
        byte[] salt = new byte[SALT_LENGTH];
        random.nextBytes(salt);
        return salt;
    }
}
