import java.util.Map;
import org.bouncycastle.asn1.ASN1Encodable;
import org.bouncycastle.asn1.cmp.CMPObjectIdentifiers;
import org.bouncycastle.asn1.cmp.PKIBody;
import org.bouncycastle.asn1.cmp.PKIFailureInfo;
import org.bouncycastle.asn1.crmf.AttributeTypeAndValue;
import org.bouncycastle.asn1.crmf.CertId;
import org.bouncycastle.asn1.crmf.CertReqMessages;
import org.bouncycastle.asn1.crmf.CertReqMsg;
import org.bouncycastle.asn1.crmf.CertTemplate;
import org.bouncycastle.asn1.crmf.Controls;
import org.bouncycastle.asn1.pkcs.CertificationRequest;
import org.bouncycastle.asn1.x500.X500Name;
import org.bouncycastle.asn1.x509.Extensions;
import org.bouncycastle.asn1.x509.SubjectPublicKeyInfo;
import org.bouncycastle.cert.X509CertificateHolder;
import org.bouncycastle.cert.cmp.ProtectedPKIMessage;
import org.bouncycastle.pkcs.PKCS10CertificationRequest;

/** The certificate that is asked for, whichever message asks, with possession of its key proved. */
record Wanted(int requestId, X500Name subject, SubjectPublicKeyInfo key, Extensions extensions) {
    private static final int PKCS10 = -1; // certReqId of the answer to p10cr (RFC 9483 4.1.4)

    static Wanted in(
            ProtectedPKIMessage message,
            Judge.Requester requester,
            Judge judge,
            Office office,
            Map<String, Object> entry)
            throws Refusal {
        ASN1Encodable content = message.getBody().getContent();
        if (message.getBody().getType() == PKIBody.TYPE_P10_CERT_REQ) {
            return inPkcs10(new PKCS10CertificationRequest(CertificationRequest.getInstance(content)), judge, entry);
        }
        CertReqMsg[] requests = CertReqMessages.getInstance(content).toCertReqMsgArray();
        if (requests.length != 1) {
            throw new Refusal(PKIFailureInfo.badRequest, "one request a message, please");
        }
        CertTemplate template = requests[0].getCertReq().getCertTemplate();
        if (template.getSubject() == null || template.getPublicKey() == null) {
            throw new Refusal(PKIFailureInfo.badCertTemplate, "subject and public key are needed");
        }
        judge.possession(requests[0], entry);
        if (message.getBody().getType() == PKIBody.TYPE_KEY_UPDATE_REQ) {
            X509CertificateHolder old = old(requests[0].getCertReq().getControls(), office);
            checkUpdate(old, template, requester);
            entry.put("old_serial", old.getSerialNumber().toString(16));
        }
        int id = requests[0].getCertReq().getCertReqId().intValueExact();
        return new Wanted(id, template.getSubject(), template.getPublicKey(), template.getExtensions());
    }

    /** The number a response bears when the request could not be read to its end. */
    static int requestId(ProtectedPKIMessage message) {
        return message.getBody().getType() == PKIBody.TYPE_P10_CERT_REQ ? PKCS10 : 0;
    }

    private static Wanted inPkcs10(PKCS10CertificationRequest request, Judge judge, Map<String, Object> entry)
            throws Refusal {
        judge.possession(request, entry);
        return new Wanted(
                PKCS10, request.getSubject(), request.getSubjectPublicKeyInfo(), request.getRequestedExtensions());
    }

    /** The certificate that oldCertId names, if it is one of ours and valid; or null. */
    private static X509CertificateHolder old(Controls controls, Office office) {
        if (controls == null) {
            return null;
        }
        for (AttributeTypeAndValue control : controls.toAttributeTypeAndValueArray()) {
            if (control.getType().equals(CMPObjectIdentifiers.regCtrl_oldCertID)) {
                return office.valid(CertId.getInstance(control.getValue()));
            }
        }
        return null;
    }

    /** An update names the certificate it replaces, is protected by it, and keeps its subject. */
    private static void checkUpdate(X509CertificateHolder old, CertTemplate template, Judge.Requester requester)
            throws Refusal {
        if (old == null || !old.equals(requester.certificate())) {
            throw new Refusal(PKIFailureInfo.badCertId, "oldCertId does not name the valid certificate that signed");
        }
        if (!old.getSubject().equals(template.getSubject())) {
            throw new Refusal(PKIFailureInfo.badCertTemplate, "an update keeps the subject");
        }
    }
}
