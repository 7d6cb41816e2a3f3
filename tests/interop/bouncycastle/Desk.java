import java.io.IOException;
import java.math.BigInteger;
import java.security.GeneralSecurityException;
import java.security.SecureRandom;
import java.util.Arrays;
import java.util.Date;
import java.util.HashMap;
import java.util.Map;
import org.bouncycastle.asn1.ASN1Encodable;
import org.bouncycastle.asn1.ASN1Encoding;
import org.bouncycastle.asn1.ASN1Enumerated;
import org.bouncycastle.asn1.ASN1Integer;
import org.bouncycastle.asn1.ASN1OctetString;
import org.bouncycastle.asn1.DERNull;
import org.bouncycastle.asn1.cmp.CMPCertificate;
import org.bouncycastle.asn1.cmp.CMPObjectIdentifiers;
import org.bouncycastle.asn1.cmp.CertConfirmContent;
import org.bouncycastle.asn1.cmp.CertOrEncCert;
import org.bouncycastle.asn1.cmp.CertRepMessage;
import org.bouncycastle.asn1.cmp.CertResponse;
import org.bouncycastle.asn1.cmp.CertifiedKeyPair;
import org.bouncycastle.asn1.cmp.ErrorMsgContent;
import org.bouncycastle.asn1.cmp.InfoTypeAndValue;
import org.bouncycastle.asn1.cmp.PKIBody;
import org.bouncycastle.asn1.cmp.PKIConfirmContent;
import org.bouncycastle.asn1.cmp.PKIFailureInfo;
import org.bouncycastle.asn1.cmp.PKIFreeText;
import org.bouncycastle.asn1.cmp.PKIHeader;
import org.bouncycastle.asn1.cmp.PKIStatus;
import org.bouncycastle.asn1.cmp.PKIStatusInfo;
import org.bouncycastle.asn1.cmp.PollRepContent;
import org.bouncycastle.asn1.cmp.PollReqContent;
import org.bouncycastle.asn1.cmp.RevDetails;
import org.bouncycastle.asn1.cmp.RevRepContentBuilder;
import org.bouncycastle.asn1.cmp.RevReqContent;
import org.bouncycastle.asn1.crmf.CertId;
import org.bouncycastle.asn1.crmf.CertTemplate;
import org.bouncycastle.asn1.x509.Extension;
import org.bouncycastle.asn1.x509.Extensions;
import org.bouncycastle.asn1.x509.GeneralName;
import org.bouncycastle.cert.X509CertificateHolder;
import org.bouncycastle.cert.cmp.CMPException;
import org.bouncycastle.cert.cmp.GeneralPKIMessage;
import org.bouncycastle.cert.cmp.ProtectedPKIMessage;
import org.bouncycastle.cert.cmp.ProtectedPKIMessageBuilder;
import org.bouncycastle.operator.OperatorCreationException;
import org.bouncycastle.util.encoders.Hex;

/** Reads a request, has it judged, decides, and answers. */
final class Desk {
    private static final int NONCE_LENGTH = 16;
    private static final int CHECK_AFTER = 1;

    private static final Map<Integer, String> NAMES = Map.ofEntries(
            Map.entry(PKIBody.TYPE_INIT_REQ, "ir"),
            Map.entry(PKIBody.TYPE_INIT_REP, "ip"),
            Map.entry(PKIBody.TYPE_CERT_REQ, "cr"),
            Map.entry(PKIBody.TYPE_CERT_REP, "cp"),
            Map.entry(PKIBody.TYPE_P10_CERT_REQ, "p10cr"),
            Map.entry(PKIBody.TYPE_KEY_UPDATE_REQ, "kur"),
            Map.entry(PKIBody.TYPE_KEY_UPDATE_REP, "kup"),
            Map.entry(PKIBody.TYPE_REVOCATION_REQ, "rr"),
            Map.entry(PKIBody.TYPE_REVOCATION_REP, "rp"),
            Map.entry(PKIBody.TYPE_CERT_CONFIRM, "certConf"),
            Map.entry(PKIBody.TYPE_CONFIRM, "pkiconf"),
            Map.entry(PKIBody.TYPE_POLL_REQ, "pollReq"),
            Map.entry(PKIBody.TYPE_POLL_REP, "pollRep"),
            Map.entry(PKIBody.TYPE_ERROR, "error"));

    /** A request that is not finished. */
    private static final class Open {
        Judge.Requester requester;
        byte[] firstNonce;
        byte[] ourNonce;
        int answerType;
        Wanted wanted;
        int polls;
        X509CertificateHolder certificate;
    }

    private final Office office;
    private final Judge judge;
    private final Seal seal;
    private final Journal journal;
    private final SecureRandom random = new SecureRandom();
    private final Map<String, Open> transactions = new HashMap<>();

    Desk(Office office, Judge judge, Seal seal, Journal journal) {
        this.office = office;
        this.judge = judge;
        this.seal = seal;
        this.journal = journal;
    }

    /** Answer one PKIMessage; what was found is in the journal before this returns. */
    byte[] answer(byte[] octets, Options options)
            throws IOException, GeneralSecurityException, OperatorCreationException, CMPException {
        GeneralPKIMessage message = new GeneralPKIMessage(octets);
        PKIHeader header = message.getHeader();
        Map<String, Object> entry = Journal.entry();
        entry.put("test", options.test());
        entry.put("message", nameOf(message.getBody().getType()));
        entry.put("transaction", hex(header.getTransactionID()));
        Judge.Requester requester = null;
        PKIBody body;
        try {
            if (!message.hasProtection()) {
                throw new Refusal(PKIFailureInfo.badMessageCheck, "the message is not protected");
            }
            ProtectedPKIMessage protectedMessage = new ProtectedPKIMessage(message);
            requester = judge.requester(protectedMessage, entry);
            body = decide(protectedMessage, requester, options, entry);
        } catch (Refusal refusal) {
            entry.put("refused", refusal.getMessage());
            body = new PKIBody(PKIBody.TYPE_ERROR, new ErrorMsgContent(status(refusal)));
        }
        entry.put("answer", nameOf(body.getType()));
        ProtectedPKIMessage answer = protect(header, body, requester, options, entry);
        journal.write(entry);
        return answer.toASN1Structure().getEncoded(ASN1Encoding.DER);
    }

    private PKIBody decide(
            ProtectedPKIMessage message, Judge.Requester requester, Options options, Map<String, Object> entry)
            throws Refusal, IOException, GeneralSecurityException, OperatorCreationException {
        if (requester.certificate() != null && office.isRevoked(requester.certificate())) {
            throw new Refusal(PKIFailureInfo.certRevoked, "the signer's certificate is revoked");
        }
        ASN1Encodable content = message.getBody().getContent();
        return switch (message.getBody().getType()) {
            case PKIBody.TYPE_INIT_REQ -> request(message, PKIBody.TYPE_INIT_REP, requester, options, entry);
            case PKIBody.TYPE_CERT_REQ, PKIBody.TYPE_P10_CERT_REQ ->
                request(message, PKIBody.TYPE_CERT_REP, requester, options, entry);
            case PKIBody.TYPE_KEY_UPDATE_REQ ->
                request(message, PKIBody.TYPE_KEY_UPDATE_REP, requester, options, entry);
            case PKIBody.TYPE_POLL_REQ -> poll(opened(message, requester), PollReqContent.getInstance(content), entry);
            case PKIBody.TYPE_CERT_CONFIRM ->
                confirm(message, opened(message, requester), CertConfirmContent.getInstance(content), entry);
            case PKIBody.TYPE_REVOCATION_REQ -> revoke(requester, RevReqContent.getInstance(content), entry);
            default -> throw new Refusal(PKIFailureInfo.badRequest, "this message is not served here");
        };
    }

    // ---- certificate requests -------------------------------------------------------------------------------------

    private PKIBody request(
            ProtectedPKIMessage message,
            int answerType,
            Judge.Requester requester,
            Options options,
            Map<String, Object> entry)
            throws Refusal, IOException, GeneralSecurityException, OperatorCreationException {
        Open open = new Open();
        open.requester = requester;
        open.firstNonce = octets(message.getHeader().getSenderNonce());
        open.answerType = answerType;
        open.polls = options.polls();
        try {
            open.wanted = Wanted.in(message, requester, judge, office, entry);
        } catch (Refusal refusal) {
            // The message itself was in order: what is wrong with the request is said in its own answer.
            entry.put("refused", refusal.getMessage());
            return response(answerType, Wanted.requestId(message), status(refusal), null, null);
        }
        if (transactions.putIfAbsent(hex(message.getHeader().getTransactionID()), open) != null) {
            throw new Refusal(PKIFailureInfo.transactionIdInUse, "this transaction is open already");
        }
        if (open.polls > 0) {
            PKIStatusInfo waiting = new PKIStatusInfo(PKIStatus.waiting, new PKIFreeText("somebody has to look at it"));
            return response(answerType, open.wanted.requestId(), waiting, null, null);
        }
        return grant(open, entry);
    }

    private PKIBody grant(Open open, Map<String, Object> entry)
            throws GeneralSecurityException, IOException, OperatorCreationException {
        Wanted wanted = open.wanted;
        open.certificate = office.issue(wanted.subject(), wanted.key(), wanted.extensions());
        entry.put("serial", open.certificate.getSerialNumber().toString(16));
        entry.put("subject", open.certificate.getSubject().toString());
        entry.put("key", wanted.key().getAlgorithm().getAlgorithm().getId());
        X509CertificateHolder published = open.requester.hasSecret() ? office.root.certificate() : null;
        return response(
                open.answerType, wanted.requestId(), new PKIStatusInfo(PKIStatus.granted), open.certificate, published);
    }

    private static PKIBody response(
            int type,
            int requestId,
            PKIStatusInfo status,
            X509CertificateHolder certificate,
            X509CertificateHolder published) {
        CertifiedKeyPair pair = certificate == null ? null : new CertifiedKeyPair(new CertOrEncCert(cmp(certificate)));
        CertResponse response = new CertResponse(new ASN1Integer(requestId), status, pair, null);
        CMPCertificate[] caPubs = published == null ? null : new CMPCertificate[] {cmp(published)};
        return new PKIBody(type, new CertRepMessage(caPubs, new CertResponse[] {response}));
    }

    // ---- what follows a request -------------------------------------------------------------------------------------

    /** Find the transaction of a later message; it must come from the same requester and answer our last message. */
    private Open opened(ProtectedPKIMessage message, Judge.Requester requester) throws Refusal {
        Open open = transactions.get(hex(message.getHeader().getTransactionID()));
        if (open == null) {
            throw new Refusal(PKIFailureInfo.badRequest, "no such transaction is open");
        }
        if (!open.requester.sameAs(requester)) {
            throw new Refusal(PKIFailureInfo.wrongIntegrity, "the transaction was opened by somebody else");
        }
        if (!Arrays.equals(open.ourNonce, octets(message.getHeader().getRecipNonce()))) {
            throw new Refusal(PKIFailureInfo.badRecipientNonce, "this does not answer our last message");
        }
        return open;
    }

    private PKIBody poll(Open open, PollReqContent content, Map<String, Object> entry)
            throws Refusal, GeneralSecurityException, IOException, OperatorCreationException {
        BigInteger[] ids = content.getCertReqIdValues();
        if (open.certificate != null || ids.length != 1 || ids[0].intValue() != open.wanted.requestId()) {
            throw new Refusal(PKIFailureInfo.badRequest, "nothing of this number is waiting");
        }
        if (open.polls-- > 0) {
            return new PKIBody(
                    PKIBody.TYPE_POLL_REP,
                    new PollRepContent(
                            new ASN1Integer(ids[0]), new ASN1Integer(CHECK_AFTER), new PKIFreeText("still looking")));
        }
        return grant(open, entry);
    }

    private PKIBody confirm(
            ProtectedPKIMessage message, Open open, CertConfirmContent content, Map<String, Object> entry)
            throws Refusal {
        if (open.certificate == null) {
            throw new Refusal(PKIFailureInfo.badRequest, "nothing was issued that could be confirmed");
        }
        boolean taken = judge.confirmation(content, open.wanted.requestId(), open.certificate, entry);
        entry.put("taken", taken);
        entry.put("serial", open.certificate.getSerialNumber().toString(16));
        if (!taken) {
            office.revoke(open.certificate);
        }
        transactions.remove(hex(message.getHeader().getTransactionID()));
        return new PKIBody(PKIBody.TYPE_CONFIRM, new PKIConfirmContent());
    }

    private PKIBody revoke(Judge.Requester requester, RevReqContent content, Map<String, Object> entry)
            throws Refusal, IOException {
        RevDetails[] details = content.toRevDetailsArray();
        CertTemplate named = details.length == 1 ? details[0].getCertDetails() : null;
        if (named == null || named.getIssuer() == null || named.getSerialNumber() == null) {
            throw new Refusal(PKIFailureInfo.badRequest, "issuer and serial number of one certificate are needed");
        }
        CertId id = new CertId(new GeneralName(named.getIssuer()), named.getSerialNumber());
        X509CertificateHolder certificate = office.valid(id);
        if (certificate == null || !certificate.equals(requester.certificate())) {
            throw new Refusal(PKIFailureInfo.badCertId, "only the holder revokes a certificate, and only once");
        }
        Extensions entries = details[0].getCrlEntryDetails();
        Extension reason = entries == null ? null : entries.getExtension(Extension.reasonCode);
        if (reason != null) {
            entry.put("reason", ASN1Enumerated.getInstance(reason.getParsedValue()).getValue().intValue());
        }
        entry.put("serial", certificate.getSerialNumber().toString(16));
        office.revoke(certificate);
        return new PKIBody(
                PKIBody.TYPE_REVOCATION_REP,
                new RevRepContentBuilder().add(new PKIStatusInfo(PKIStatus.granted), id).build());
    }

    // ---- the envelope -----------------------------------------------------------------------------------------------

    private ProtectedPKIMessage protect(
            PKIHeader request, PKIBody body, Judge.Requester requester, Options options, Map<String, Object> entry)
            throws CMPException, OperatorCreationException {
        Office.Authority authority = options.ra() ? office.registration : office.root;
        byte[] nonce = new byte[NONCE_LENGTH];
        random.nextBytes(nonce);
        Open open = transactions.get(hex(request.getTransactionID()));
        boolean afterPolling = open != null && body.getType() == open.answerType;
        if (open != null) {
            open.ourNonce = nonce;
        }
        ProtectedPKIMessageBuilder message = new ProtectedPKIMessageBuilder(
                        request.getPvno().intValueExact(),
                        new GeneralName(authority.certificate().getSubject()),
                        request.getSender())
                .setMessageTime(new Date())
                .setTransactionID(octets(request.getTransactionID()))
                .setSenderNonce(nonce)
                // At the end of polling the answer is that to the request (RFC 9483 4.4).
                .setRecipNonce(afterPolling ? open.firstNonce : octets(request.getSenderNonce()))
                .setBody(body);
        if (options.implicit() && afterPolling && asksForImplicitConfirmation(request)) {
            message.addGeneralInfo(new InfoTypeAndValue(CMPObjectIdentifiers.it_implicitConfirm, DERNull.INSTANCE));
            entry.put("implicit", true);
        }
        boolean signs = requester == null || !requester.hasSecret() || options.signed();
        entry.put("answer_protection", signs ? "signature" : entry.get("protection"));
        return signs
                ? seal.byAuthority(message, office, authority)
                : seal.bySecret(message, requester, options.ownMac());
    }

    private static boolean asksForImplicitConfirmation(PKIHeader header) {
        InfoTypeAndValue[] infos = header.getGeneralInfo();
        return infos != null
                && Arrays.stream(infos)
                        .anyMatch(one -> one.getInfoType().equals(CMPObjectIdentifiers.it_implicitConfirm));
    }

    private static PKIStatusInfo status(Refusal refusal) {
        return new PKIStatusInfo(
                PKIStatus.rejection, new PKIFreeText(refusal.getMessage()), new PKIFailureInfo(refusal.failure));
    }

    private static CMPCertificate cmp(X509CertificateHolder certificate) {
        return new CMPCertificate(certificate.toASN1Structure());
    }

    private static String nameOf(int type) {
        return NAMES.getOrDefault(type, "body " + type);
    }

    private static byte[] octets(ASN1OctetString value) {
        return value == null ? new byte[0] : value.getOctets();
    }

    private static String hex(ASN1OctetString value) {
        return Hex.toHexString(octets(value));
    }
}
